-- 2 of 3: the tables whose changes Supabase Realtime tells.
--
-- Run it as the owner, after 001. It may be run again at any time; tables that are told already stay as they are.
-- Without it the monitor reads all open rows every few seconds (SUPABASE_POLL_S): later, not less.
-- strategy_monitoring and strategy_details are not among them: they are read with the strategy whose rows have changed, and
-- with everything else every SUPABASE_REREAD_S.

begin;
set local client_min_messages = warning;

do $$
declare
    -- Edit these when your tables are called otherwise; SUPABASE_SCHEMA and SUPABASE_..._TABLE in .env must say the same.
    the_schema constant text := 'public';
    the_tables constant text[] := array[
        'trades',
        'strategies',
        'strategy_risk_management',
        'strategy_exit_levels',
        'monitor_lease'
    ];
    table_name text;
    found regclass;
    told text;
begin
    -- Realtime reads this one publication. A new project has it already.
    if not exists (select from pg_publication where pubname = 'supabase_realtime') then
        create publication supabase_realtime;
    end if;

    foreach table_name in array the_tables loop
        found := to_regclass(format('%I.%I', the_schema, table_name));
        if found is null then
            raise exception 'There is no table %.%.', the_schema, table_name
                using hint = case when table_name = 'monitor_lease' then 'Run 001_monitor_tables.sql first.'
                                  else 'Write the name of your table at the top of this file.' end;
        end if;
        -- True also for a publication of all tables, or of all tables of the schema.
        if not exists (select from pg_publication_tables t
                        where t.pubname = 'supabase_realtime' and t.schemaname = the_schema and t.tablename = table_name) then
            execute format('alter publication supabase_realtime add table %I.%I', the_schema, table_name);
        end if;
        if not exists (select from pg_index where indrelid = found and indisprimary) then
            raise warning '%.% has no primary key: Realtime does not tell its changes.', the_schema, table_name;
        end if;
    end loop;

    select concat_ws(', ', case when not pubinsert then 'inserts' end, case when not pubupdate then 'updates' end,
                     case when not pubdelete then 'deletes' end)
      into told from pg_publication where pubname = 'supabase_realtime';
    if told <> '' then
        raise warning 'The publication supabase_realtime leaves out %.', told
            using hint = 'alter publication supabase_realtime set (publish = ''insert, update, delete, truncate'')';
    end if;
end
$$;

commit;
