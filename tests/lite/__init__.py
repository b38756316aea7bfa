"""A second PostgREST-compatible server for the tests, written by other people than the gateway: `@supabase/lite`."""
