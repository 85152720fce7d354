"""The answer clock: four weeks, pauses, the ladder of reminders, one digest a day for each reader.

``ladder`` says purely what is due; the rest of the room writes it down. Days are those of the city's calendar,
so summer time and New Year need no thought.
"""

from mailrouter.deadlines.desk import mark_waiting
from mailrouter.deadlines.digests import forward_of
from mailrouter.deadlines.moving import Move, recompute
from mailrouter.deadlines.office import Office
from mailrouter.deadlines.pause import LONGEST_REASON, ClockError, pause, resume
from mailrouter.deadlines.remind import LIVE, mark, remind_due, start

__all__ = [
    "LIVE",
    "LONGEST_REASON",
    "ClockError",
    "Move",
    "Office",
    "forward_of",
    "mark",
    "mark_waiting",
    "pause",
    "recompute",
    "remind_due",
    "resume",
    "start",
]
