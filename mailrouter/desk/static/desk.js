// Enhances the pages; everything works without it. No dependency, no inline code, nothing fetched.
"use strict";

(() => {
  const KEYS_OFF = "mailrouter-keys-off";
  const byId = (id) => document.getElementById(id);
  const keysOn = () => localStorage.getItem(KEYS_OFF) === null;

  // A type-ahead over the long list: it only narrows the <select> that the server wrote.
  function picker(select) {
    const fold = (text) => text.trim().toLocaleLowerCase("sv");
    const entries = [...select.querySelectorAll("option[value]:not([value=''])")].map((option) => ({
      option,
      group: option.parentElement,
      name: fold(option.textContent),
      others: fold(option.dataset.names).split(/[;,]\s*/),
    }));
    const groups = [...new Set(entries.map((entry) => entry.group))];
    const empty = select.querySelector("option[value='']");
    const field = document.createElement("input");
    field.type = "search";
    field.autocomplete = "off";
    field.id = `${select.id}-sok`;
    field.placeholder = select.dataset.picker;
    field.setAttribute("aria-label", select.dataset.picker);
    field.setAttribute("aria-controls", select.id);
    const said = document.createElement("span");
    said.className = "meta";
    said.setAttribute("role", "status");
    const box = document.createElement("span");
    box.className = "picker";
    select.replaceWith(box);
    box.append(field, select, said);

    const radio = byId("annan-val");
    const take = () => {
      if (select.value) radio.checked = true;
    };
    // How well an entry answers: its own name, a word of it, another name, a part of either; 0 is not at all.
    function mark({ name, others }, wanted) {
      if (name.startsWith(wanted)) return 5;
      if (` ${name}`.includes(` ${wanted}`)) return 4;
      if (others.some((other) => other.startsWith(wanted))) return 3;
      const all = `${name} ${others.join(" ")}`;
      if (all.includes(wanted)) return 2;
      return wanted.split(/\s+/).every((word) => all.includes(word)) ? 1 : 0;
    }
    function narrow() {
      const wanted = fold(field.value);
      const found = entries
        .map((entry) => ({ ...entry, mark: wanted ? mark(entry, wanted) : 1 }))
        .filter((entry) => entry.mark > 0)
        .sort((a, b) => b.mark - a.mark);
      for (const group of groups) {
        const members = found.filter((entry) => entry.group === group).map((entry) => entry.option);
        group.replaceChildren(...members);
        group.hidden = members.length === 0;
      }
      empty.hidden = wanted !== "";
      if (wanted) select.size = 6;
      else select.removeAttribute("size");
      // Only a clear answer is chosen for the person; between equals nobody guesses.
      const clear = wanted && found.length > 0 && (found.length === 1 || found[0].mark > found[1].mark);
      select.value = clear ? found[0].option.value : "";
      if (wanted && !clear) select.selectedIndex = -1;
      said.textContent = wanted ? (found.length ? `${found.length} ${select.dataset.hits}` : select.dataset.none) : "";
      if (wanted) radio.checked = true;
    }
    field.addEventListener("input", narrow);
    field.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown") {
        event.preventDefault();
        select.focus();
      }
    });
    select.addEventListener("change", take);
    return field;
  }

  const list = document.querySelector("select[data-picker]");
  const pickerField = list ? picker(list) : null;

  // Choosing a candidate after all lets go of the other choice, so that the server is never asked both.
  document.querySelectorAll("input[name='val']").forEach((radio) => {
    radio.addEventListener("change", () => {
      if (radio.dataset.digit !== "0" && list) {
        list.value = "";
        if (pickerField.value) {
          pickerField.value = "";
          pickerField.dispatchEvent(new Event("input"));
          radio.checked = true;
        }
      }
    });
  });

  // A form is sent once, however often it is clicked.
  document.querySelectorAll("form[method='post']").forEach((form) => {
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent) event.preventDefault();
      form.dataset.sent = "yes";
    });
  });
  window.addEventListener("pageshow", () => {
    document.querySelectorAll("form[data-sent]").forEach((form) => delete form.dataset.sent);
  });

  // What was just decided can be undone for a while; the figure counts down, nobody is told of each second.
  document.querySelectorAll("form[data-undo]").forEach((form) => {
    const left = form.querySelector("[data-left]");
    const ends = Date.now() + Number(form.dataset.undo) * 1000;
    const beat = setInterval(() => {
      const seconds = Math.ceil((ends - Date.now()) / 1000);
      if (seconds > 0) left.textContent = seconds;
      else if (!form.dataset.sent) {
        clearInterval(beat);
        if (form.contains(document.activeElement)) byId("innehall").focus();
        form.remove();
      }
    }, 250);
  });

  // Keys
  const follow = (selector) => {
    const link = document.querySelector(selector);
    if (link) link.click();
    return Boolean(link);
  };

  function choose(digit) {
    const radio = document.querySelector(`input[name='val'][data-digit='${digit}']`);
    if (!radio) return false;
    const fold = radio.closest("details");
    if (fold) fold.open = true;
    radio.checked = true;
    radio.dispatchEvent(new Event("change"));
    (digit === "0" ? pickerField : radio).focus();
    return true;
  }

  function submit() {
    const form = byId("bekrafta");
    if (form) form.requestSubmit(byId("bekrafta-knapp"));
    return Boolean(form);
  }

  function help() {
    const page = document.querySelector("a[data-help]");
    const dialog = byId("tangenter");
    if (dialog) dialog.showModal();
    else page.click();
    return true;
  }

  // Opens a fold and goes to the first thing in it.
  function unfold(...names) {
    const fold = names.map((name) => document.querySelector(`details[data-key='${name}']`)).find(Boolean);
    if (!fold) return false;
    fold.open = true;
    fold.querySelector("a, input:not([type='hidden']), select, textarea, button")?.focus();
    return true;
  }

  function notACase() {
    const none = document.querySelector("input[name='skal'][value='ej-arende']");
    if (!none || !unfold("close")) return false;
    none.checked = true;
    none.focus();
    return true;
  }

  const next = () => follow("[data-key='next']");
  const previous = () => follow("[data-key='previous']");
  const acts = {
    Enter: submit,
    s: () => unfold("split"),
    a: () => unfold("answer"),
    h: () => unfold("refer"),
    e: notACase,
    v: () => follow("[data-key='noted']") || unfold("aside"),
    r: () => unfold("return", "reopen"),
    n: next,
    p: previous,
    j: next,
    ArrowRight: next,
    k: previous,
    ArrowLeft: previous,
    z: () => follow("[data-key='undo']"),
    u: () => follow(".steps > a"),
    "/": () => {
      byId("sok").focus();
      return true;
    },
    "?": help,
  };

  // An answer that is being written is sent with Ctrl or Cmd and Enter; Enter alone begins a new line.
  const answer = byId("svarstext");
  if (answer) {
    const blank = answer.value.match(/\[[^\[\]\n]+\]/); // the first thing to fill in is chosen: typing replaces it
    answer.focus({ preventScroll: true });
    if (blank) answer.setSelectionRange(blank.index, blank.index + blank[0].length);
    answer.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) answer.form.requestSubmit();
    });
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || document.querySelector("dialog[open]")) return;
    const at = event.target;
    if (event.key === "Escape" && at !== document.body) {
      at.blur();
      return;
    }
    const radio = at.matches("input[name='val']");
    if (at.matches("input, select, textarea, iframe") && !radio) return;
    if (event.key === "Enter" && at.matches("a, button, summary")) return;
    if (event.repeat && event.key === "Enter") {
      event.preventDefault(); // a key held down must not confirm the next case unread
      return;
    }
    if (radio && event.key.startsWith("Arrow")) return;
    if (!keysOn() && event.key !== "Enter") return;
    if (event.key === "Enter" && !keysOn() && !radio) return;
    const act = /^[0-9]$/.test(event.key) ? () => choose(event.key) : acts[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (act && act()) event.preventDefault();
  });

  // Single keys can be turned off (WCAG 2.1.4).
  document.querySelectorAll("[data-keys-switch]").forEach((place) => {
    const button = document.createElement("button");
    button.type = "button";
    const say = () => {
      button.textContent = keysOn() ? place.dataset.off : place.dataset.on;
    };
    button.addEventListener("click", () => {
      if (keysOn()) localStorage.setItem(KEYS_OFF, "yes");
      else localStorage.removeItem(KEYS_OFF);
      say();
    });
    say();
    place.append(button);
  });
  document.querySelectorAll("[data-close]").forEach((button) => {
    button.addEventListener("click", () => button.closest("dialog").close());
  });
})();
