-- Projects and their keys. Every other table belongs to a project.

CREATE TABLE muster.projects (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL UNIQUE CHECK (name <> '' AND length(name) <= 200),
    time_zone text NOT NULL DEFAULT 'UTC',
    consent_mode text NOT NULL DEFAULT 'opt_out' CHECK (consent_mode IN ('off', 'opt_out', 'opt_in')),
    allowed_origins text[] NOT NULL DEFAULT '{*}',
    event_window_days integer NOT NULL DEFAULT 365 CHECK (event_window_days > 0),
    retention_days integer CHECK (retention_days > 0), -- null keeps events forever
    rollup_keys text[] NOT NULL DEFAULT '{}', -- keys of data that are dimensions of the roll-ups
    honors_signals boolean NOT NULL DEFAULT false, -- "Sec-GPC: 1" and "DNT: 1" deny consent unless the user decided otherwise
    identifies_backwards boolean NOT NULL DEFAULT false, -- a session's earlier anonymous events become its user's
    redacted_keys text[] NOT NULL, -- keys of data that are not stored; the default is in muster/ingest/redaction.py
    redacts_cards boolean NOT NULL DEFAULT true,
    -- While a flag is false, ingest skips the check.
    has_decisions boolean NOT NULL DEFAULT false, -- a consent decision was recorded
    has_erasures boolean NOT NULL DEFAULT false, -- a user was erased
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE muster.api_keys (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    project_id uuid NOT NULL REFERENCES muster.projects,
    kind text NOT NULL CHECK (kind IN ('write', 'read', 'admin')),
    prefix text NOT NULL,
    key_hash bytea NOT NULL UNIQUE CHECK (octet_length(key_hash) = 32),
    note text,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz, -- updated once an hour
    revoked_at timestamptz,
    -- Copies of the project's settings, so that the fast path reads one row. Two triggers keep them up to date.
    event_window interval NOT NULL, -- an older event needs the full path
    redacted_keys text[] NOT NULL,
    may_need_full_path boolean NOT NULL -- the project uses consent, erasures or backward identification
);
CREATE INDEX api_keys_project ON muster.api_keys (project_id);

GRANT SELECT ON muster.projects TO muster_reader, muster_admin;
GRANT SELECT (id, project_id, kind, prefix, note, created_at, last_used_at, revoked_at) ON muster.api_keys
   TO muster_reader, muster_admin;
