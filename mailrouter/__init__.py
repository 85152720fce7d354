"""mailrouter: the e-mail gateway of a city contact centre."""
