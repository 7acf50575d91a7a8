"""Pilot studies: tokens and their redemption."""
