-- Consent decisions, every one of them, and the tokens of pilot studies.

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
    CHECK (user_id IS NOT NULL OR session_id IS NOT NULL)
);
CREATE INDEX analytics_consent_user ON muster.analytics_consent (project_id, user_id, decided_at) WHERE user_id IS NOT NULL;
CREATE INDEX analytics_consent_session ON muster.analytics_consent (project_id, session_id, decided_at) WHERE session_id IS NOT NULL;

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

-- The latest decision of a user or a session; null when there is none.
CREATE FUNCTION muster.consent_of(p_project_id uuid, p_user_id text, p_session_id uuid) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT d.status FROM (
        (SELECT c.status, c.decided_at, c.id FROM muster.analytics_consent c
          WHERE c.project_id = p_project_id AND c.user_id = p_user_id ORDER BY c.decided_at DESC, c.id DESC LIMIT 1)
        UNION ALL
        (SELECT c.status, c.decided_at, c.id FROM muster.analytics_consent c
          WHERE c.project_id = p_project_id AND c.session_id = p_session_id ORDER BY c.decided_at DESC, c.id DESC LIMIT 1)
    ) d ORDER BY d.decided_at DESC, d.id DESC LIMIT 1
$$;

GRANT SELECT ON muster.analytics_consent TO muster_reader, muster_admin;
GRANT SELECT (id, project_id, prefix, participant_type, max_uses, uses, note, expires_at, revoked_at, created_at)
   ON muster.pilot_tokens TO muster_reader, muster_admin;
