-- Why consent forbids an event: consent_denied or consent_missing; null if the event may be stored. p_opts_out: the browser sent
-- Sec-GPC or DNT, and the project honors these signals.
CREATE OR REPLACE FUNCTION muster.consent_reason(p_project muster.projects, p_user_id text, p_session_id uuid, p_opts_out boolean)
RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_status text;
BEGIN
    IF p_project.consent_mode = 'off' THEN
        RETURN NULL;
    END IF;
    v_status := muster.consent_status(p_project.id, p_user_id, p_session_id);
    RETURN CASE WHEN v_status IN ('denied', 'withdrawn') OR p_opts_out AND v_status IS NULL THEN 'consent_denied'
                WHEN p_project.consent_mode = 'opt_in' AND v_status IS NULL THEN 'consent_missing' END;
END
$$;
