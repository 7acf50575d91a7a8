-- Roll-ups: what metrics are answered from without reading every event. They hold the events up to a watermark of transaction
-- ids; an answer adds the events after it, in the same snapshot. docs/architecture.md explains them with an example.
--
-- An event has a value in each dimension: "all" of the project, its type, its area, and its value of each key of data that the
-- project declares. An event without a user has one in the dimension userId as well: "anonymous". For each value, users and
-- sessions are active on days (in the project's time zone), and each active day knows the active day before it. The distinct
-- users of a range of days are those whose previous active day lies before the range.

-- How far a project is rolled up.
CREATE TABLE muster.rollup_state (
    project_id uuid PRIMARY KEY REFERENCES muster.projects,
    watermark bigint, -- events of earlier transactions are rolled up; null while the roll-ups are rebuilt
    rebuild_to bigint, -- while rebuilding: the watermark when done,
    rebuilt_before timestamptz, -- how far it is by the events' own time,
    rebuilt_until timestamptz, -- and the time of the last event
    system_identifier bigint NOT NULL, -- the server whose transactions these are
    time_zone text NOT NULL, -- whose days these are
    keys text[] NOT NULL, -- the keys of data that are dimensions
    first_at timestamptz, -- the first and the last event that is rolled up
    last_at timestamptz,
    rolled_up_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE muster.rollup_dimensions (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id uuid NOT NULL REFERENCES muster.projects,
    name text NOT NULL, -- all, eventType, area, data.<key>, userId
    UNIQUE (project_id, name)
);

CREATE TABLE muster.rollup_dimension_values (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dimension_id integer NOT NULL REFERENCES muster.rollup_dimensions ON DELETE CASCADE,
    value_hash uuid NOT NULL, -- a value may be longer than an index entry
    value text,
    UNIQUE (dimension_id, value_hash)
);

-- Events, distinct users and distinct sessions of each dimension value and day.
CREATE TABLE muster.rollup_days (
    value_id integer NOT NULL,
    day date NOT NULL,
    dimension_id integer NOT NULL,
    events bigint NOT NULL,
    users bigint NOT NULL,
    sessions bigint NOT NULL,
    PRIMARY KEY (value_id, day)
) WITH (fillfactor = 80);
CREATE INDEX rollup_days_dimension ON muster.rollup_days (dimension_id, day);

-- Returning activity: how many users or sessions that were active on day were last active on previous_day.
CREATE TABLE muster.rollup_returning_activity (
    value_id integer NOT NULL,
    kind "char" NOT NULL, -- u: users, s: sessions
    day date NOT NULL,
    previous_day date NOT NULL, -- -infinity: never before
    entities bigint NOT NULL,
    PRIMARY KEY (value_id, kind, day, previous_day)
) WITH (fillfactor = 80);

-- Lengths and bounces of sessions by their first and last day.
CREATE TABLE muster.rollup_session_spans (
    value_id integer NOT NULL,
    first_day date NOT NULL,
    last_day date NOT NULL,
    sessions bigint NOT NULL,
    micros bigint NOT NULL, -- from each session's first event to its last
    bounces bigint NOT NULL, -- sessions of one event
    PRIMARY KEY (value_id, first_day, last_day)
) WITH (fillfactor = 80);

-- Sessions of several days or very many events. The spans cannot tell which part of them lies in a range, and their events are
-- not read again, so their days are kept.
CREATE TABLE muster.rollup_long_sessions (
    project_id uuid NOT NULL,
    session_id uuid NOT NULL,
    first_day date NOT NULL,
    last_day date NOT NULL,
    PRIMARY KEY (project_id, session_id)
) WITH (fillfactor = 80);
CREATE INDEX rollup_long_sessions_days ON muster.rollup_long_sessions (project_id, last_day, first_day);

CREATE TABLE muster.rollup_session_days (
    project_id uuid NOT NULL,
    session_id uuid NOT NULL,
    value_id integer NOT NULL,
    day date NOT NULL,
    events bigint NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    PRIMARY KEY (project_id, session_id, value_id, day)
) WITH (fillfactor = 80);

-- The active days of each user.
CREATE TABLE muster.rollup_user_days (
    project_id uuid NOT NULL,
    user_id text NOT NULL,
    day date NOT NULL,
    events bigint NOT NULL, -- on this day
    first_at timestamptz NOT NULL, -- the user's first event ever
    value_ids integer[] NOT NULL, -- the dimension values in which the user was active up to this day,
    last_days date[] NOT NULL, -- and the last active day in each
    PRIMARY KEY (project_id, user_id, day)
) WITH (fillfactor = 80);
CREATE INDEX rollup_user_days_day ON muster.rollup_user_days (project_id, day);

-- The sessions that hold events of a user.
CREATE TABLE muster.rollup_user_sessions (
    project_id uuid NOT NULL,
    user_id text NOT NULL,
    session_id uuid NOT NULL,
    first_day date NOT NULL,
    last_day date NOT NULL,
    PRIMARY KEY (project_id, user_id, session_id)
) WITH (fillfactor = 90);

-- Events of one session that share user, type, area, keys and day: what the functions that roll up pass to each other.
CREATE TYPE muster.event_group AS (
    session_id uuid, user_id text, event_type text, area text, key_values text[], day date,
    events bigint, first_at timestamptz, last_at timestamptz,
    value_ids integer[] -- of its dimension values, once they are looked up
);

GRANT SELECT ON muster.rollup_state, muster.rollup_dimensions, muster.rollup_dimension_values, muster.rollup_days,
      muster.rollup_returning_activity, muster.rollup_session_spans, muster.rollup_long_sessions, muster.rollup_session_days,
      muster.rollup_user_days, muster.rollup_user_sessions TO muster_reader, muster_admin;
