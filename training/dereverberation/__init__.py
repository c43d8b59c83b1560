"""A network that takes rooms off speech, before any checkpoint hears it."""
