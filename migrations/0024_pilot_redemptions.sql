-- Pilot studies: tokens are issued, listed, revoked and redeemed here. A function of the API may do so by a key alone, and can read
-- neither a token's hash nor who redeemed it.

-- Who redeemed which token. A redemption is of a user, of a session, or of both; a user who brings further sessions to it has a row
-- for each, of the same time, and has used the token once.
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

-- How many unknown tokens were tried since then; one row for a project, whatever is tried.
CREATE TABLE muster.pilot_attempts (
    project_id uuid PRIMARY KEY REFERENCES muster.projects,
    since timestamptz NOT NULL DEFAULT now(),
    failures integer NOT NULL DEFAULT 1
);

-- A token as it is listed: never its hash.
CREATE FUNCTION muster.pilot_token_json(p_token muster.pilot_tokens) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'id', p_token.id, 'prefix', p_token.prefix, 'participant_type', p_token.participant_type,
        'state', CASE WHEN p_token.revoked_at IS NOT NULL THEN 'revoked' WHEN p_token.expires_at <= now() THEN 'expired'
                      WHEN p_token.uses >= p_token.max_uses THEN 'used_up' ELSE 'active' END,
        'uses', p_token.uses, 'max_uses', p_token.max_uses, 'note', p_token.note, 'expires_at', p_token.expires_at,
        'revoked_at', p_token.revoked_at, 'created_at', p_token.created_at)
$$;

-- The project of a key of one of these kinds, or why not: {"project_id"} or {"refused"}.
CREATE FUNCTION muster.project_of_key(p_key_hash bytea, p_kinds text[]) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT CASE WHEN k.kind = ANY (p_kinds) THEN jsonb_build_object('project_id', k.project_id)
                                 ELSE '{"refused": "key_not_allowed"}' END
                       FROM muster.authenticate(p_key_hash) k), '{"refused": "invalid_key"}')
$$;

-- Ids and hashes are the caller's, so that the same call once more issues nothing twice.
CREATE FUNCTION muster.issue_pilot_tokens(p_key_hash bytea, p_ids uuid[], p_hashes bytea[], p_prefixes text[],
    p_participant_type text, p_max_uses integer, p_expires_at timestamptz, p_note text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_key jsonb := muster.project_of_key(p_key_hash, '{admin}');
BEGIN
    IF v_key ? 'refused' THEN
        RETURN v_key;
    ELSIF p_expires_at <= now() THEN
        RETURN '{"refused": "expired_already"}';
    END IF;
    INSERT INTO muster.pilot_tokens (id, project_id, token_hash, prefix, participant_type, max_uses, expires_at, note)
    SELECT t.id, (v_key ->> 'project_id')::uuid, t.hash, t.prefix, p_participant_type, p_max_uses, p_expires_at, p_note
      FROM unnest(p_ids, p_hashes, p_prefixes) AS t(id, hash, prefix)
    ON CONFLICT (id) DO NOTHING;
    RETURN jsonb_build_object('issued', cardinality(p_ids), 'expires_at', p_expires_at);
END
$$;

-- A page of a project's tokens, the latest first; p_cursor is the id of the last one of the page before.
CREATE FUNCTION muster.get_pilot_tokens(p_key_hash bytea, p_cursor uuid, p_limit integer) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_key jsonb := muster.project_of_key(p_key_hash, '{admin}');
    v_project_id uuid := v_key ->> 'project_id';
    v_after timestamptz := 'infinity';
BEGIN
    IF v_key ? 'refused' THEN
        RETURN v_key;
    ELSIF p_cursor IS NOT NULL THEN
        SELECT t.created_at INTO v_after FROM muster.pilot_tokens t WHERE t.project_id = v_project_id AND t.id = p_cursor;
        IF NOT FOUND THEN
            RETURN '{"refused": "unknown_cursor"}';
        END IF;
    END IF;
    RETURN jsonb_build_object('tokens', (
        SELECT coalesce(jsonb_agg(muster.pilot_token_json(t) ORDER BY t.created_at DESC, t.id DESC), '[]') FROM (
            SELECT * FROM muster.pilot_tokens t
             WHERE t.project_id = v_project_id AND t.created_at <= v_after
               AND (p_cursor IS NULL OR (t.created_at, t.id) < (v_after, p_cursor))
             ORDER BY t.created_at DESC, t.id DESC LIMIT p_limit) t));
END
$$;

-- Nobody redeems it any more; who has redeemed it stays a participant.
CREATE FUNCTION muster.revoke_pilot_token(p_key_hash bytea, p_id uuid) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_key jsonb := muster.project_of_key(p_key_hash, '{admin}');
    v_token muster.pilot_tokens;
BEGIN
    IF v_key ? 'refused' THEN
        RETURN v_key;
    END IF;
    UPDATE muster.pilot_tokens SET revoked_at = coalesce(revoked_at, now())
     WHERE project_id = (v_key ->> 'project_id')::uuid AND id = p_id RETURNING * INTO v_token;
    IF NOT FOUND THEN
        RETURN '{"refused": "token_not_found"}';
    END IF;
    RETURN muster.pilot_token_json(v_token);
END
$$;

-- How many unknown tokens of a project are answered as such in a minute.
CREATE FUNCTION muster.wrong_tokens_a_minute() RETURNS integer LANGUAGE sql IMMUTABLE AS $$ SELECT 60 $$;

-- What an unknown token is answered, which is counted. A right one does not come this far, so that nobody can lock its holder out.
CREATE FUNCTION muster.count_wrong_token(p_project_id uuid) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    v_most CONSTANT integer := muster.wrong_tokens_a_minute();
    v_window CONSTANT interval := '1 minute';
    v_attempts muster.pilot_attempts;
BEGIN
    SELECT * INTO v_attempts FROM muster.pilot_attempts WHERE project_id = p_project_id;
    -- One that is over the limit writes nothing.
    IF v_attempts.failures IS NULL OR v_attempts.failures < v_most OR v_attempts.since <= now() - v_window THEN
        INSERT INTO muster.pilot_attempts AS a (project_id) VALUES (p_project_id)
        ON CONFLICT (project_id) DO UPDATE SET
               failures = CASE WHEN a.since > now() - v_window THEN a.failures + 1 ELSE 1 END,
               since = CASE WHEN a.since > now() - v_window THEN a.since ELSE now() END
        RETURNING * INTO v_attempts;
        IF v_attempts.failures <= v_most THEN
            RETURN '{"refused": "token_not_found"}';
        END IF;
    END IF;
    RETURN jsonb_build_object('refused', 'too_many_attempts', 'retry_after_seconds',
        greatest(1, ceil(extract(epoch FROM v_attempts.since + v_window - now())))::integer);
END
$$;

-- Redeems a token for a user, a session or both, exactly as often as it has uses: its row is locked, and who waited sees what the
-- one before did. The same user or session again is the same redemption, whatever has become of the token since.
CREATE FUNCTION muster.redeem_pilot_token(p_key_hash bytea, p_token_hash bytea, p_user_id text, p_session_id uuid) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
DECLARE
    v_key jsonb := muster.project_of_key(p_key_hash, '{write,admin}');
    v_project_id uuid := v_key ->> 'project_id';
    v_token muster.pilot_tokens;
    v_known muster.pilot_redemptions;
BEGIN
    IF v_key ? 'refused' THEN
        RETURN v_key;
    END IF;
    SELECT * INTO v_token FROM muster.pilot_tokens WHERE token_hash = p_token_hash AND project_id = v_project_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN muster.count_wrong_token(v_project_id);
    END IF;
    SELECT * INTO v_known FROM muster.pilot_redemptions r
     WHERE r.project_id = v_project_id AND r.token_id = v_token.id AND (r.user_id = p_user_id OR r.session_id = p_session_id)
     ORDER BY (r.user_id = p_user_id) IS TRUE DESC, (r.session_id = p_session_id) IS TRUE DESC, r.id LIMIT 1;
    IF v_known.user_id IS NULL AND v_known.session_id = p_session_id AND p_user_id IS NOT NULL THEN
        -- The session's user has become known; a session that was another user's stays theirs.
        UPDATE muster.pilot_redemptions SET user_id = p_user_id WHERE id = v_known.id;
    ELSIF v_known.user_id = p_user_id AND v_known.session_id IS DISTINCT FROM p_session_id AND p_session_id IS NOT NULL THEN
        INSERT INTO muster.pilot_redemptions (project_id, token_id, participant_type, user_id, session_id, redeemed_at)
        VALUES (v_project_id, v_token.id, v_known.participant_type, p_user_id, p_session_id, v_known.redeemed_at);
    ELSIF v_known.id IS NULL THEN
        IF v_token.revoked_at IS NOT NULL THEN
            RETURN '{"refused": "token_revoked"}';
        ELSIF v_token.expires_at <= now() THEN
            RETURN '{"refused": "token_expired"}';
        ELSIF v_token.uses >= v_token.max_uses THEN
            RETURN '{"refused": "token_used_up"}';
        END IF;
        UPDATE muster.pilot_tokens SET uses = uses + 1 WHERE id = v_token.id;
        INSERT INTO muster.pilot_redemptions (project_id, token_id, participant_type, user_id, session_id)
        VALUES (v_project_id, v_token.id, v_token.participant_type, p_user_id, p_session_id) RETURNING * INTO v_known;
    END IF;
    RETURN jsonb_build_object('participant_type', v_known.participant_type, 'redeemed_at', v_known.redeemed_at);
END
$$;

-- The latest redemption of a session or of its user says as what it takes part; null when there is none.
CREATE FUNCTION muster.participant_type_of(p_project_id uuid, p_session_id uuid) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT r.participant_type FROM (
        (SELECT r.participant_type, r.redeemed_at, r.id FROM muster.pilot_redemptions r
          WHERE r.project_id = p_project_id AND r.session_id = p_session_id ORDER BY r.redeemed_at DESC, r.id DESC LIMIT 1)
        UNION ALL
        (SELECT r.participant_type, r.redeemed_at, r.id
           FROM muster.analytics_sessions s JOIN muster.pilot_redemptions r ON r.project_id = s.project_id AND r.user_id = s.user_id
          WHERE s.project_id = p_project_id AND s.id = p_session_id ORDER BY r.redeemed_at DESC, r.id DESC LIMIT 1)
    ) r ORDER BY r.redeemed_at DESC, r.id DESC LIMIT 1
$$;

-- A session with its participant type, for who may read; get_session stays for functions of the version before.
CREATE FUNCTION muster.show_session(p_key_hash bytea, p_session_id uuid) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, muster, pg_temp AS $$
    SELECT CASE WHEN s.found ? 'refused' THEN s.found ELSE s.found || jsonb_build_object('participant_type',
               (SELECT muster.participant_type_of(k.project_id, p_session_id) FROM muster.authenticate(p_key_hash) k)) END
      FROM muster.get_session(p_key_hash, p_session_id) AS s(found)
$$;

GRANT SELECT ON muster.pilot_redemptions TO muster_reader, muster_admin;
GRANT SELECT ON muster.pilot_attempts TO muster_reader, muster_admin;
GRANT EXECUTE ON FUNCTION muster.issue_pilot_tokens, muster.get_pilot_tokens, muster.revoke_pilot_token, muster.redeem_pilot_token,
      muster.show_session TO muster_ingest;
GRANT EXECUTE ON FUNCTION muster.participant_type_of, muster.wrong_tokens_a_minute TO muster_reader, muster_admin;
