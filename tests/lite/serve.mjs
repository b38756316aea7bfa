// A PostgREST-compatible server on a free port of this machine, over the PostgreSQL database that LITE_DSN names.
// Prints `port N` once it answers. Ends when its standard input ends, so that it never outlives the tests.

import { serve } from "@hono/node-server";
import { App } from "@supabase/lite";
import { createPostgresConnection } from "@supabase/lite/postgres";

const { LITE_DSN, LITE_SECRET_KEY, LITE_PUBLISHABLE_KEY, LITE_MAX_ROWS } = process.env;

const connection = createPostgresConnection({ url: LITE_DSN, postgresOptions: { max: 8 } });
const app = new App({
  connection,
  api: { schemas: ["public"], max_rows: Number(LITE_MAX_ROWS) },
  auth: { enabled: false, secret_key: LITE_SECRET_KEY, publishable_key: LITE_PUBLISHABLE_KEY },
});

// No peer address: then a request without a key is never taken for one of an administrator.
const answer = (request) => app.fetch(request, { peerAddress: null });

// The first request for a table makes it look up the tables and grant rights, and two at once then fail
// ("tuple concurrently updated"). So ask once before anybody else may.
for (const { tablename } of await connection.driver`SELECT tablename FROM pg_tables WHERE schemaname = 'public' LIMIT 1`) {
  const headers = { apikey: LITE_SECRET_KEY };
  await answer(new Request(`http://127.0.0.1/rest/v1/${tablename}?limit=1`, { headers }));
}

serve({ fetch: answer, hostname: "127.0.0.1", port: 0 }, ({ port }) => console.log(`port ${port}`));

process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
