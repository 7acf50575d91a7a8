-- Consent by key: every decision is kept, the latest counts, and a session's decision follows to the user it turns out to be of.

-- Whether "Sec-GPC: 1" and "DNT: 1" count as a denial where nobody has decided otherwise.
ALTER TABLE muster.projects ADD COLUMN honors_signals boolean NOT NULL DEFAULT false;
-- The session's decision that this one of its user repeats.
ALTER TABLE muster.analytics_consent ADD COLUMN followed_from bigint;
CREATE UNIQUE INDEX analytics_consent_followed ON muster.analytics_consent (project_id, user_id, followed_from)
 WHERE followed_from IS NOT NULL;

-- Repeats what sessions decided as what their users decided. A session whose user is known is that user's; another one's is of the
-- first user that is named with it.
CREATE FUNCTION muster.follow_decisions(p_project_id uuid, p_session_ids uuid[], p_user_ids text[]) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO muster.analytics_consent (project_id, user_id, status, version, data_usage_accepted, decided_at, received_at, followed_from)
    SELECT p_project_id, t.user_id, c.status, c.version, c.data_usage_accepted, c.decided_at, c.received_at, c.id
      FROM (SELECT DISTINCT ON (n.session_id) n.session_id, coalesce(s.user_id, n.user_id) AS user_id
              FROM unnest(p_session_ids, p_user_ids) WITH ORDINALITY AS n(session_id, user_id, position)
              LEFT JOIN muster.analytics_sessions s ON s.project_id = p_project_id AND s.id = n.session_id
             WHERE coalesce(s.user_id, n.user_id) IS NOT NULL ORDER BY n.session_id, n.position) t
      JOIN muster.analytics_consent c ON c.project_id = p_project_id AND c.session_id = t.session_id AND c.user_id IS NULL
     ORDER BY c.id
    ON CONFLICT DO NOTHING
$$;

-- Keeps a decision. p_decision: {"userId", "sessionId": one of them at least, "status", "version", "dataUsageAccepted", "decidedAt"}.
-- Answers {"status", "version", "decided_at"} as it now stands for whom it names, or {"refused"}.
CREATE FUNCTION muster.put_consent(p_key_hash bytea, p_decision jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_key CONSTANT jsonb := muster.project_of_key(p_key_hash, '{write,admin}');
    v_project CONSTANT uuid := v_key ->> 'project_id';
    v_user text := p_decision ->> 'userId';
    v_session uuid := (p_decision ->> 'sessionId')::uuid;
    v_version text := p_decision ->> 'version';
    -- No decision is made after it has arrived, whatever a client's clock says: it would count for ever.
    v_decided timestamptz := least(coalesce((p_decision ->> 'decidedAt')::timestamptz, now()), now());
    v_known text;
BEGIN
    IF v_key ? 'refused' THEN
        RETURN v_key;
    END IF;
    IF v_session IS NOT NULL THEN
        SELECT s.user_id INTO v_known FROM muster.analytics_sessions s WHERE s.project_id = v_project AND s.id = v_session;
        IF v_known <> v_user THEN
            RETURN '{"refused": "session_belongs_to_another_user"}';
        END IF;
    END IF;
    -- The same decision, sent again, is the same one.
    INSERT INTO muster.analytics_consent (project_id, user_id, session_id, status, version, data_usage_accepted, decided_at)
    SELECT v_project, coalesce(v_user, v_known), v_session, p_decision ->> 'status', v_version,
           (p_decision ->> 'dataUsageAccepted')::boolean, v_decided
     WHERE NOT EXISTS (
           SELECT FROM muster.analytics_consent c
            WHERE c.project_id = v_project AND (c.user_id = coalesce(v_user, v_known) OR c.session_id = v_session)
              AND c.user_id IS NOT DISTINCT FROM coalesce(v_user, v_known) AND c.session_id IS NOT DISTINCT FROM v_session
              AND c.status = p_decision ->> 'status' AND c.version IS NOT DISTINCT FROM v_version AND c.decided_at = v_decided);
    RETURN muster.decision_of(v_project, coalesce(v_user, v_known), v_session);
END
$$;

-- The latest decision of a user or a session as {"status", "version", "decided_at"}; "unknown" where there is none.
CREATE FUNCTION muster.decision_of(p_project_id uuid, p_user_id text, p_session_id uuid) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT coalesce((
        SELECT jsonb_build_object('status', d.status, 'version', d.version, 'decided_at', d.decided_at) FROM (
            (SELECT c.* FROM muster.analytics_consent c
              WHERE c.project_id = p_project_id AND c.user_id = p_user_id ORDER BY c.decided_at DESC, c.id DESC LIMIT 1)
            UNION ALL
            (SELECT c.* FROM muster.analytics_consent c
              WHERE c.project_id = p_project_id AND c.session_id = p_session_id ORDER BY c.decided_at DESC, c.id DESC LIMIT 1)) d
         ORDER BY d.decided_at DESC, d.id DESC LIMIT 1),
        '{"status": "unknown", "version": null, "decided_at": null}')
$$;

-- As put_consent answers; for a session, what its user decided elsewhere counts too.
CREATE FUNCTION muster.get_consent(p_key_hash bytea, p_user_id text, p_session_id uuid) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_key CONSTANT jsonb := muster.project_of_key(p_key_hash, '{write,read,admin}');
    v_project CONSTANT uuid := v_key ->> 'project_id';
BEGIN
    IF v_key ? 'refused' THEN
        RETURN v_key;
    END IF;
    RETURN muster.decision_of(v_project, coalesce(p_user_id, (
        SELECT s.user_id FROM muster.analytics_sessions s WHERE s.project_id = v_project AND s.id = p_session_id)), p_session_id);
END
$$;

GRANT EXECUTE ON FUNCTION muster.put_consent, muster.get_consent TO muster_ingest;
