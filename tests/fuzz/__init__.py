"""Fuzz campaigns: too long for the gates, run by hand or over night."""
