"""The drivers of the unit controller: systemd itself over D-Bus, and a supervisor for machines without it."""
