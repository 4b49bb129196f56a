"""The hands of the unit controller: systemd itself over D-Bus, and a supervisor for machines without it."""
