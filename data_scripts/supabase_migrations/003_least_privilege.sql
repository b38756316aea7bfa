-- 3 of 3 (recommended): a role that may do what the exit monitor does, and nothing else.
--
-- Run it as the owner, after 001. It may be run again at any time: it first takes away what the role has in this schema.
-- Without it the monitor works with the project's secret key (service role), which may do everything.
--
-- What the role may do:
--   read    the trade tables (strategy_monitoring and strategy_details where they are), risk_events, monitor_lease and the
--           trading-hours tables
--   change  of a trade: order_status, exit_order_id, exit_price, exit_time, exit_reason. No other column, no other table
--   add     rows to risk_events
--   call    beat_monitor_lease and release_monitor_lease (which write monitor_lease with the caller's rights)
-- It may delete nothing, change no level or strategy, and read no other table of yours. It may also do what your database
-- allows to everybody (PUBLIC): functions are open to everybody unless you close them. The end of this file names those that
-- run with their owner's rights.
--
-- How the monitor becomes that role: a signed token with {"role": "exit_monitor"} in SUPABASE_ROLE_TOKEN.
-- data_scripts/make_role_token.py signs one (README, "Trades in Supabase"). SUPABASE_KEY can then be the project's publishable (anon) key.

begin;
set local client_min_messages = warning;

do $$
declare
    -- Edit these when your tables are called otherwise; SUPABASE_SCHEMA and SUPABASE_..._TABLE in .env must say the same.
    the_schema     constant text := 'public';
    the_trades     constant text := 'trades';
    the_strategies constant text := 'strategies';
    the_risks      constant text := 'strategy_risk_management';
    the_levels     constant text := 'strategy_exit_levels';
    the_monitoring constant text := 'strategy_monitoring';
    the_details    constant text := 'strategy_details';

    calendar constant text[] := array['trading_hours_templates', 'trading_sessions', 'market_holidays',
                                      'special_trading_sessions'];
    -- Read where they are, done without where they are not.
    optional constant text[] := array[the_monitoring, the_details] || calendar;
    table_name text;
    function_name text;
begin
    if to_regrole('exit_monitor') is null then
        create role exit_monitor nologin noinherit;
    end if;
    -- The REST service connects as authenticator and becomes the role that the token names.
    if to_regrole('authenticator') is not null then
        grant exit_monitor to authenticator;
    end if;

    foreach table_name in array array[the_trades, the_strategies, the_risks, the_levels, 'risk_events', 'monitor_lease'] loop
        if to_regclass(format('%I.%I', the_schema, table_name)) is null then
            raise exception 'There is no table %.%.', the_schema, table_name
                using hint = 'Write the names of your tables at the top of this file; 001_monitor_tables.sql makes the others.';
        end if;
    end loop;

    execute format('revoke all on all tables in schema %I from exit_monitor', the_schema);
    execute format('revoke all on all sequences in schema %I from exit_monitor', the_schema);
    execute format('revoke all on all functions in schema %I from exit_monitor', the_schema);
    execute format('grant usage on schema %I to exit_monitor', the_schema);

    foreach table_name in array array[the_trades, the_strategies, the_risks, the_levels, 'risk_events', 'monitor_lease']
                                || optional loop
        if to_regclass(format('%I.%I', the_schema, table_name)) is not null then
            execute format('grant select on %I.%I to exit_monitor', the_schema, table_name);
        end if;
    end loop;
    execute format('grant update (order_status, exit_order_id, exit_price, exit_time, exit_reason) on %I.%I to exit_monitor',
                   the_schema, the_trades);
    execute format('grant insert on %I.risk_events to exit_monitor', the_schema);
    execute format('grant insert, update on %I.monitor_lease to exit_monitor', the_schema);
    execute format('grant execute on function %I.beat_monitor_lease(text, text, bigint, text, int) to exit_monitor', the_schema);
    execute format('grant execute on function %I.release_monitor_lease(text, text) to exit_monitor', the_schema);

    -- Policies. On a table without row-level security they do nothing until you switch it on; see the end of this file.
    foreach table_name in array array[the_trades, the_strategies, the_risks, the_levels, 'risk_events', 'monitor_lease']
                                || optional loop
        if to_regclass(format('%I.%I', the_schema, table_name)) is not null then
            execute format('drop policy if exists exit_monitor_reads on %I.%I', the_schema, table_name);
            execute format('create policy exit_monitor_reads on %I.%I for select to exit_monitor using (true)',
                           the_schema, table_name);
        end if;
    end loop;
    -- With row-level security on: a closed trade is never opened again, and never rewritten.
    execute format('drop policy if exists exit_monitor_closes on %I.%I', the_schema, the_trades);
    execute format($policy$create policy exit_monitor_closes on %I.%I for update to exit_monitor
                   using (order_status = 'open') with check (order_status in ('open', 'closed'))$policy$, the_schema, the_trades);
    execute format('drop policy if exists exit_monitor_records on %I.risk_events', the_schema);
    execute format('create policy exit_monitor_records on %I.risk_events for insert to exit_monitor with check (true)', the_schema);
    execute format('drop policy if exists exit_monitor_takes on %I.monitor_lease', the_schema);
    execute format('create policy exit_monitor_takes on %I.monitor_lease for insert to exit_monitor with check (true)', the_schema);
    execute format('drop policy if exists exit_monitor_beats on %I.monitor_lease', the_schema);
    execute format('create policy exit_monitor_beats on %I.monitor_lease for update to exit_monitor using (true) with check (true)',
                   the_schema);

    -- What everybody may call with its owner's rights, this role may call too.
    for function_name in
        select p.oid::regprocedure::text from pg_proc p
         where p.pronamespace = to_regnamespace(quote_ident(the_schema)) and p.prosecdef
           and has_function_privilege('exit_monitor', p.oid, 'execute')
    loop
        raise warning 'Everybody, so also exit_monitor, may call % with its owner''s rights.', function_name
            using hint = format('revoke execute on function %s from public', function_name);
    end loop;
end
$$;

notify pgrst, 'reload schema';

commit;

-- ---------------------------------------------------------------------------------------------------------------------
-- Not done here: row-level security on YOUR tables. This file never switches it on.
--
-- Without it everybody who has the publishable (anon) key of your project may read, and often write, your trades. With it
-- nobody sees a row unless a policy lets him; only the owner and the service role still see all. So before you switch it on,
-- give every program that does not use the service role (strategy builder, executor, dashboards) a policy of its own:
-- else they find empty tables, without an error. Try it outside market hours, then run data_scripts/check_supabase.py.
--
--   alter table public.trades enable row level security;
--   alter table public.strategies enable row level security;
--   alter table public.strategy_risk_management enable row level security;
--   alter table public.strategy_exit_levels enable row level security;
--   alter table public.strategy_monitoring enable row level security;
--   alter table public.strategy_details enable row level security;
--
-- To take the role away again:
--
--   drop owned by exit_monitor;   -- its rights and policies; it owns no table
--   drop role exit_monitor;
