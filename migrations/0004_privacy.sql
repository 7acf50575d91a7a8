-- Consent, erasure, and pilot tokens.

-- Consent decisions. All are kept; the latest one applies.
CREATE TABLE muster.analytics_consent (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id uuid NOT NULL,
    user_id text,
    session_id uuid,
    status text NOT NULL CHECK (status IN ('granted', 'denied', 'withdrawn')),
    version text,
    data_usage_accepted boolean,
    decided_at timestamptz NOT NULL DEFAULT now(),
    received_at timestamptz NOT NULL DEFAULT now(),
    carried_over_from bigint, -- the session's decision that was copied to its user
    CHECK (user_id IS NOT NULL OR session_id IS NOT NULL)
);
CREATE INDEX analytics_consent_user ON muster.analytics_consent (project_id, user_id, decided_at) WHERE user_id IS NOT NULL;
CREATE INDEX analytics_consent_session ON muster.analytics_consent (project_id, session_id, decided_at) WHERE session_id IS NOT NULL;
CREATE UNIQUE INDEX analytics_consent_carried_over ON muster.analytics_consent (project_id, user_id, carried_over_from)
 WHERE carried_over_from IS NOT NULL;

-- Sessions that got a user. Their earlier anonymous events get this user too, as soon as no roll-up is running.
CREATE TABLE muster.pending_identities (
    project_id uuid NOT NULL,
    session_id uuid NOT NULL,
    user_id text NOT NULL,
    PRIMARY KEY (project_id, session_id)
);

-- Erasures. Only a hash of the erased user is stored, so that late or repeated batches are recognised and ignored.
CREATE TABLE muster.erasures (
    receipt_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    project_id uuid NOT NULL REFERENCES muster.projects,
    user_hash uuid NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT clock_timestamp(), -- earlier events that arrive later are erased too
    completed_at timestamptz,
    events bigint NOT NULL DEFAULT 0,
    sessions bigint NOT NULL DEFAULT 0,
    consents bigint NOT NULL DEFAULT 0,
    rejections bigint NOT NULL DEFAULT 0,
    redemptions bigint NOT NULL DEFAULT 0
);
CREATE INDEX erasures_user ON muster.erasures (project_id, user_hash);

CREATE TABLE muster.erased_sessions (
    project_id uuid NOT NULL,
    session_hash uuid NOT NULL,
    erased_at timestamptz NOT NULL,
    is_whole boolean NOT NULL, -- the session had no other user, so its anonymous events were erased too
    PRIMARY KEY (project_id, session_hash)
);

CREATE TABLE muster.erased_events (
    project_id uuid NOT NULL,
    event_hash uuid NOT NULL,
    session_hash uuid NOT NULL,
    was_stored boolean NOT NULL, -- false: the event arrived after the erasure and was ignored; the event trace finds it here
    PRIMARY KEY (project_id, event_hash, session_hash)
);

CREATE TABLE muster.pilot_tokens (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    project_id uuid NOT NULL REFERENCES muster.projects,
    token_hash bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    prefix text NOT NULL,
    participant_type text NOT NULL,
    max_uses integer NOT NULL DEFAULT 1 CHECK (max_uses > 0),
    uses integer NOT NULL DEFAULT 0 CHECK (uses BETWEEN 0 AND max_uses),
    note text,
    expires_at timestamptz,
    revoked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX pilot_tokens_project ON muster.pilot_tokens (project_id, created_at);

-- The redemptions of tokens by a user, a session, or both. If the user redeems again from another session, another row with the
-- same time is added and the token is not used again.
CREATE TABLE muster.pilot_redemptions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id uuid NOT NULL,
    token_id uuid NOT NULL REFERENCES muster.pilot_tokens,
    participant_type text NOT NULL,
    user_id text,
    session_id uuid,
    redeemed_at timestamptz NOT NULL DEFAULT now(),
    CHECK (user_id IS NOT NULL OR session_id IS NOT NULL)
);
CREATE INDEX pilot_redemptions_user ON muster.pilot_redemptions (project_id, user_id) WHERE user_id IS NOT NULL;
CREATE INDEX pilot_redemptions_session ON muster.pilot_redemptions (project_id, session_id) WHERE session_id IS NOT NULL;

-- The number of unknown tokens that were tried within a minute: one row for each project.
CREATE TABLE muster.pilot_attempts (
    project_id uuid PRIMARY KEY REFERENCES muster.projects,
    since timestamptz NOT NULL DEFAULT now(),
    failures integer NOT NULL DEFAULT 1
);

GRANT SELECT ON muster.analytics_consent, muster.pending_identities, muster.erasures, muster.erased_sessions, muster.erased_events,
      muster.pilot_redemptions, muster.pilot_attempts TO muster_reader, muster_admin;
GRANT SELECT (id, project_id, prefix, participant_type, max_uses, uses, note, expires_at, revoked_at, created_at)
   ON muster.pilot_tokens TO muster_reader, muster_admin;
