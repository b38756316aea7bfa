"""The failure catalogue (reliability 1.1): each test carries the ID of the fault it makes."""
