-- 1 of 3: the tables that the exit monitor owns, and the lease by which a second monitor sees the first.
--
-- Run it as the owner of the database: paste it into the SQL editor of your project, or `supabase db push`.
-- It may be run again at any time. It changes no table of yours: a table that has one of these names already and was not
-- made by this file is left as it is (risk_events gets the columns that it lacks).
-- The monitor also runs without this file. What is missing then: no row in risk_events, no proof that changes arrive
-- (it reads all rows every few seconds instead), no sight of a second monitor on another machine.
--
-- Needs PostgreSQL 15 or newer.

begin;
set local client_min_messages = warning;

-- The schema of your trade tables. Edit it here if it is not public; SUPABASE_SCHEMA in .env must say the same.
set local search_path = public, pg_temp;

-- Tables with these names that somebody else made stay as they are. Ours are known by the beginning of their comment.
do $$
declare
    table_name text;
    left_alone text[] := '{}';
begin
    foreach table_name in array array['risk_events', 'monitor_state', 'monitor_lease', 'trading_hours_templates',
                                      'trading_sessions', 'market_holidays', 'special_trading_sessions'] loop
        if to_regclass(table_name) is not null
           and coalesce(obj_description(to_regclass(table_name), 'pg_class'), '') not like 'Exit monitor:%' then
            if table_name = 'monitor_lease' then
                raise exception 'A table monitor_lease exists already and is not of the exit monitor.'
                    using hint = 'Rename it, or choose another schema at the top of this file.';
            end if;
            raise warning 'A table % exists already and is left as it is: no security is set on it.', table_name;
            left_alone := left_alone || table_name;
        end if;
    end loop;
    perform set_config('exit_monitor.left_alone', left_alone::text, true);
end
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- What the monitor did: one row for each finished exit. Numbers in rupees (days for the rules that count days).

create table if not exists risk_events (
    id              bigint generated always as identity primary key,
    execution_id    text unique,
    strategy_id     bigint,
    event_type      text,
    threshold_value numeric,
    current_value   numeric,
    action_taken    text,
    exit_order_ids  text,
    triggered_at    timestamptz,
    notes           text
);

-- A risk_events of an older program lacks some of these. Adding a column changes no row and no other column.
alter table risk_events add column if not exists execution_id text;
alter table risk_events add column if not exists strategy_id bigint;
alter table risk_events add column if not exists event_type text;
alter table risk_events add column if not exists threshold_value numeric;
alter table risk_events add column if not exists current_value numeric;
alter table risk_events add column if not exists action_taken text;
alter table risk_events add column if not exists exit_order_ids text;
alter table risk_events add column if not exists triggered_at timestamptz;
alter table risk_events add column if not exists notes text;

-- One row for each exit, however often the monitor has to try.
do $$
begin
    if not exists (
        select from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
         where i.indrelid = to_regclass('risk_events') and i.indisunique and i.indisvalid and i.indnkeyatts = 1
           and i.indpred is null and a.attname = 'execution_id'
    ) then
        create unique index risk_events_execution_id on risk_events (execution_id);
    end if;
exception when unique_violation then
    raise warning 'risk_events holds an execution_id twice, so it cannot be made unique. Remove the copies, run this again.';
end
$$;

create index if not exists risk_events_of_strategy on risk_events (strategy_id, triggered_at);

-- ---------------------------------------------------------------------------------------------------------------------
-- What the monitor remembers of a strategy (peaks, fired levels). Reserved: today it keeps that in STATE_DIR.

create table if not exists monitor_state (
    strategy_id bigint primary key,
    state       jsonb not null,
    updated_at  timestamptz not null default now()
);

-- ---------------------------------------------------------------------------------------------------------------------
-- Who monitors. The row is written every second or two, so its pages keep room and are cleaned often.

create table if not exists monitor_lease (
    name       text primary key,
    holder     text not null,
    epoch      bigint not null,
    beat       bigint not null,
    build      text,
    expires_at timestamptz not null,
    beat_at    timestamptz not null
) with (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);

-- Take or renew the lease `p_name` for p_ttl_s seconds (1 to 3600); always answers with one row: who holds it now.
-- It is taken when it is free, ours, or expired. Only the clock of this database decides, so clocks of machines do not
-- matter. `epoch` grows by one whenever the holder changes: a number from an older holder can be told.
-- `p_holder` must be different for every running monitor: two with one name would both believe that they hold it.
-- Rights are those of the caller (security invoker): see 003.
create or replace function beat_monitor_lease(p_name text, p_holder text, p_beat bigint, p_build text, p_ttl_s int)
returns table (holder text, epoch bigint, beat bigint, expires_at timestamptz, is_mine boolean)
language plpgsql
volatile
security invoker
set search_path from current
as $$
#variable_conflict use_column
begin
    if coalesce(p_name, '') = '' or coalesce(p_holder, '') = '' or p_beat is null then
        raise exception 'expected a name, a holder and a beat' using errcode = '22023';
    end if;
    if p_ttl_s is null or p_ttl_s not between 1 and 3600 then
        raise exception 'expected p_ttl_s from 1 to 3600, received %', p_ttl_s using errcode = '22023';
    end if;
    -- clock_timestamp(), not now(): the time after the row lock was granted is what counts.
    return query
        insert into monitor_lease as l (name, holder, epoch, beat, build, expires_at, beat_at)
        values (p_name, p_holder, 1, p_beat, p_build,
                clock_timestamp() + make_interval(secs => p_ttl_s), clock_timestamp())
        on conflict (name) do update
           set holder     = p_holder,
               epoch      = case when l.holder = p_holder then l.epoch else l.epoch + 1 end,
               beat       = p_beat,
               build      = p_build,
               expires_at = clock_timestamp() + make_interval(secs => p_ttl_s),
               beat_at    = clock_timestamp()
         where l.holder = p_holder or l.expires_at <= clock_timestamp()
        returning l.holder, l.epoch, l.beat, l.expires_at, true;
    if not found then
        return query
            select l.holder, l.epoch, l.beat, l.expires_at, false from monitor_lease l where l.name = p_name;
    end if;
end
$$;

-- Give the lease back if it is ours, so that the next monitor need not wait. One row: whether it was ours.
create or replace function release_monitor_lease(p_name text, p_holder text)
returns table (released boolean)
language plpgsql
volatile
security invoker
set search_path from current
as $$
begin
    update monitor_lease l set expires_at = least(l.expires_at, clock_timestamp())
     where l.name = p_name and l.holder = p_holder;
    return query select found;
end
$$;

-- ---------------------------------------------------------------------------------------------------------------------
-- When the markets are open. Times are Indian clock times (IST, no summer time); days are Indian days.
-- A day is looked up in this order: special_trading_sessions, market_holidays, then the template valid on that day.
-- A day for which no template is valid is unknown: neither open nor closed.
-- Reserved: today the monitor reads the same facts from core/nse_calendar.csv.

create table if not exists trading_hours_templates (
    id         bigint generated always as identity primary key,
    name       text not null unique,
    segment    text not null,
    weekdays   smallint[] not null default '{1,2,3,4,5}',
    valid_from date not null,
    valid_to   date,
    note       text,
    check (weekdays <@ '{1,2,3,4,5,6,7}'::smallint[] and cardinality(weekdays) > 0),
    check (valid_to is null or valid_to >= valid_from)
);

create table if not exists trading_sessions (
    id          bigint generated always as identity primary key,
    template_id bigint not null references trading_hours_templates (id) on delete cascade,
    phase       text not null default 'continuous',
    opens       time not null,
    closes      time not null,
    unique (template_id, phase, opens),
    check (phase in ('pre_open', 'continuous', 'closing_auction', 'post_close')),
    check (opens < closes)
);

create table if not exists market_holidays (
    holiday_date date not null,
    segment      text not null,
    reason       text not null,
    source       text,
    primary key (holiday_date, segment)
);

create table if not exists special_trading_sessions (
    id           bigint generated always as identity primary key,
    session_date date not null,
    segment      text not null,
    phase        text not null default 'continuous',
    opens        time,
    closes       time,
    reason       text not null,
    source       text,
    unique nulls not distinct (session_date, segment, phase, opens),
    check (phase in ('pre_open', 'continuous', 'closing_auction', 'post_close')),
    check ((opens is null) = (closes is null)),
    check (opens < closes)
);

-- ---------------------------------------------------------------------------------------------------------------------
-- Security of the tables made here: row-level security on, no policy. So nobody but the owner and the service role sees
-- them; 003 lets the role exit_monitor in. New tables of a project are often open to everybody with the public key.

do $$
declare
    own constant jsonb := jsonb_build_object(
        'risk_events', 'one row for each finished exit. execution_id is the exit''s own id.',
        'monitor_state', 'what the monitor remembers of a strategy. Reserved.',
        'monitor_lease', 'who monitors, renewed every second or two by beat_monitor_lease. epoch grows when the holder changes.',
        'trading_hours_templates', 'the regular hours of a segment (NSE_FNO, NSE_EQ, ...) and from when to when they hold. weekdays: 1 is Monday.',
        'trading_sessions', 'the hours of a template, one row for each phase. IST; the opening second is in, the closing second is not.',
        'market_holidays', 'days on which a segment is closed all day.',
        'special_trading_sessions', 'days with hours of their own: muhurat, Saturday sessions in two parts. No hours: traded, but nobody has confirmed when.'
    );
    table_name text;
    reader text;
begin
    for table_name in select jsonb_object_keys(own) loop
        if table_name <> all (current_setting('exit_monitor.left_alone')::text[]) then
            execute format('comment on table %I is %L', table_name, 'Exit monitor: ' || (own ->> table_name));
            execute format('alter table %I enable row level security', table_name);
            execute format('revoke all on %I from public', table_name);
            for reader in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
                execute format('revoke all on %I from %I', table_name, reader);
            end loop;
            if to_regrole('service_role') is not null then
                execute format('grant select, insert, update, delete on %I to service_role', table_name);
            end if;
        end if;
    end loop;

    revoke all on function beat_monitor_lease(text, text, bigint, text, int) from public;
    revoke all on function release_monitor_lease(text, text) from public;
    for reader in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
        execute format('revoke all on function beat_monitor_lease(text, text, bigint, text, int) from %I', reader);
        execute format('revoke all on function release_monitor_lease(text, text) from %I', reader);
    end loop;
    if to_regrole('service_role') is not null then
        grant execute on function beat_monitor_lease(text, text, bigint, text, int) to service_role;
        grant execute on function release_monitor_lease(text, text) to service_role;
    end if;
end
$$;

-- The REST service learns of the new tables at once.
notify pgrst, 'reload schema';

commit;
