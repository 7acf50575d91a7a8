-- What metrics are answered from without reading events: filled by a roll-forward up to a watermark of transaction ids.

CREATE TABLE muster.rollup_state (
    project_id uuid PRIMARY KEY REFERENCES muster.projects,
    watermark xid8 NOT NULL, -- every event of an earlier transaction is folded
    system_identifier bigint NOT NULL, -- transaction ids mean nothing in another cluster
    folded_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE muster.rollup_buckets (
    project_id uuid NOT NULL,
    bucket timestamptz NOT NULL, -- of 15 minutes: every time zone's offset is a multiple
    event_type text NOT NULL,
    area text NOT NULL,
    events bigint NOT NULL,
    PRIMARY KEY (project_id, bucket, event_type, area)
);

-- The days (in the project's time zone) on which a user was active, each with the active day before it.
CREATE TABLE muster.rollup_user_days (
    project_id uuid NOT NULL,
    user_id text NOT NULL,
    day date NOT NULL,
    previous_day date NOT NULL DEFAULT '-infinity',
    events bigint NOT NULL,
    PRIMARY KEY (project_id, user_id, day)
);

-- The return matrix: distinct users of any range of days = sum(users) where day in range and previous_day before it.
CREATE TABLE muster.rollup_user_returns (
    project_id uuid NOT NULL,
    day date NOT NULL,
    previous_day date NOT NULL,
    users bigint NOT NULL,
    PRIMARY KEY (project_id, day, previous_day)
);

GRANT SELECT ON muster.rollup_state, muster.rollup_buckets, muster.rollup_user_days, muster.rollup_user_returns
   TO muster_reader, muster_admin;
