"""A Supabase look-alike on loopback, over a real PostgreSQL: for tests only. It imports nothing of the project."""
