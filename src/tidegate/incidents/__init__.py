"""Re-enactments of what went wrong elsewhere, with the published figures they are held against."""
