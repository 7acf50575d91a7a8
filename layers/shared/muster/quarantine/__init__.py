"""The quarantine: rejected events and requests, and their replay."""
