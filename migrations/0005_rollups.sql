-- Roll-ups let metrics be computed without reading every event. They cover the events up to a watermark of transaction ids; a query
-- adds the later events in the same snapshot. docs/architecture.md explains roll-ups with an example.
--
-- An event has one value in each dimension: "all", its type, its area, and its value of each key of data in the project's
-- rollup_keys. An event without a user also has the value "anonymous" in the dimension userId. For each dimension value, the
-- roll-ups know the days on which each user and session was active (in the project's time zone), and the active day before each.
-- A user's first active day in a range is the one whose previous active day is before the range, so counting these days counts
-- the distinct users.

-- The progress of a project's roll-up.
CREATE TABLE muster.rollup_state (
    project_id uuid PRIMARY KEY REFERENCES muster.projects,
    watermark bigint, -- events of earlier transactions are rolled up; null while the roll-ups are rebuilt
    rebuild_to bigint, -- during a rebuild: the watermark when it is done
    rebuilt_before timestamptz, -- during a rebuild: events with earlier times are rolled up
    rebuilt_until timestamptz, -- during a rebuild: the time of the last event
    system_identifier bigint NOT NULL, -- the server that the transaction ids belong to
    time_zone text NOT NULL, -- the time zone of the days
    keys text[] NOT NULL, -- the keys of data that are dimensions
    first_at timestamptz, -- the times of the first and the last event that are rolled up
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
    value_hash uuid NOT NULL, -- indexed instead of the value, which may be too long for an index
    value text,
    UNIQUE (dimension_id, value_hash)
);

-- The numbers of events, distinct users and distinct sessions for each dimension value and day.
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

-- Returning activity: the number of users or sessions that were active on `day` and, before that, last on `previous_day`.
CREATE TABLE muster.rollup_returning_activity (
    value_id integer NOT NULL,
    kind "char" NOT NULL, -- u: users, s: sessions
    day date NOT NULL,
    previous_day date NOT NULL, -- -infinity: no earlier activity
    entities bigint NOT NULL,
    PRIMARY KEY (value_id, kind, day, previous_day)
) WITH (fillfactor = 80);

-- The durations and bounces of sessions by their first and last day.
CREATE TABLE muster.rollup_session_spans (
    value_id integer NOT NULL,
    first_day date NOT NULL,
    last_day date NOT NULL,
    sessions bigint NOT NULL,
    micros bigint NOT NULL, -- the sum of the durations from first to last event, in microseconds
    bounces bigint NOT NULL, -- the number of sessions with one event
    PRIMARY KEY (value_id, first_day, last_day)
) WITH (fillfactor = 80);

-- Sessions over several days or with very many events. The spans do not say which part of such a session is in a range, and reading
-- its events again would be slow, so its days are stored.
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
    value_ids integer[] NOT NULL, -- the dimension values in which the user was active up to this day
    last_days date[] NOT NULL, -- the last active day in each of these values
    PRIMARY KEY (project_id, user_id, day)
) WITH (fillfactor = 80);
CREATE INDEX rollup_user_days_day ON muster.rollup_user_days (project_id, day);

-- The sessions with events of a user.
CREATE TABLE muster.rollup_user_sessions (
    project_id uuid NOT NULL,
    user_id text NOT NULL,
    session_id uuid NOT NULL,
    first_day date NOT NULL,
    last_day date NOT NULL,
    PRIMARY KEY (project_id, user_id, session_id)
) WITH (fillfactor = 90);

-- A group of events of one session with the same user, type, area, keys and day. The roll-up functions pass these to each other.
CREATE TYPE muster.event_group AS (
    session_id uuid, user_id text, event_type text, area text, key_values text[], day date,
    events bigint, first_at timestamptz, last_at timestamptz,
    value_ids integer[] -- the ids of its dimension values, set by with_dimension_values
);

GRANT SELECT ON muster.rollup_state, muster.rollup_dimensions, muster.rollup_dimension_values, muster.rollup_days,
      muster.rollup_returning_activity, muster.rollup_session_spans, muster.rollup_long_sessions, muster.rollup_session_days,
      muster.rollup_user_days, muster.rollup_user_sessions TO muster_reader, muster_admin;
