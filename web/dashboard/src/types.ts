// The parts of the API's responses that the dashboard shows. functions/web/openapi.json describes all of them.

export interface Totals {
  events: number;
  users: number;
  sessions: number;
  newUsers: number;
  activeUsersNow: number;
  averageSessionSeconds: number;
  bounceRate: number;
  eventsPerSession: number;
}

export interface Explain {
  rowsOutsideRange: number;
  rowsOutsideRangeIsExact: boolean;
  rejectedInRange: number;
  ignoredInRange: number;
  lastEventAt: string | null;
  source: "rollups" | "events";
  hint: string;
}

export interface Bucket {
  bucket: string;
  events: number;
  users: number;
  sessions: number;
}

export interface BreakdownRow {
  value: string | null;
  events: number;
  users: number;
  sessions: number;
}

export interface Range {
  start: string;
  end: string;
  timezone: string;
  granularity: Granularity;
}

export type Granularity = "minute" | "hour" | "day" | "week" | "month";

export interface Metrics {
  range: Range;
  asOf: string;
  totals: Totals;
  previous: Totals;
  series: Bucket[];
  breakdown: BreakdownRow[];
  explain: Explain;
}

export interface StoredEvent {
  id: string;
  sessionId: string;
  userId: string | null;
  eventType: string;
  area: string;
  timestamp: string;
  receivedAt: string;
  data: Record<string, unknown>;
}

export interface EventPage {
  events: StoredEvent[];
  nextCursor: string | null;
}

export interface FunnelStep {
  eventType: string;
  area: string | null;
  count: number;
  fromPrevious: number;
  fromStart: number;
  medianSeconds: number | null;
}

export interface Funnel {
  range: Range;
  steps: FunnelStep[];
}

export interface Retention {
  period: "day" | "week";
  timezone: string;
  cohorts: { start: string; users: number; retained: number[] }[];
}

export interface UserSummary {
  userId: string;
  events: number;
  sessions: number;
  firstSeenAt: string;
  lastSeenAt: string;
  eventTypes: { value: string; events: number; sessions: number }[];
  recent: StoredEvent[];
}

export interface Session {
  sessionId: string;
  userId: string | null;
  participantType?: string | null;
  startedAt: string;
  lastSeenAt: string;
  endedAt: string | null;
  durationSeconds: number;
  eventsCount: number;
  isActive: boolean;
}

/** A session in a range. `eventsInRange` counts the events that pass the filters. */
export interface SessionInRange extends Session {
  eventsInRange: number;
  firstEventAt: string;
  lastEventAt: string;
}

export interface DeliveryReport {
  eventsCount: number;
  eventsStored: number;
  batches: { received: [number, number][]; gaps: [number, number][]; missing: number; last: number };
  dropped: number;
  rejected: number;
  clockSkewMs: number | null;
  lateness: { medianSeconds: number; maxSeconds: number } | null;
  userConflicts: number;
  verdict: string;
  remedy: string | null;
}

export interface Consent {
  status: "granted" | "denied" | "withdrawn" | "unknown";
  version: string | null;
  decidedAt: string | null;
}

export interface Subject {
  userId: string;
  events: unknown[];
  nextCursor?: string | null;
}

export interface Receipt {
  receiptId: string;
  events: number;
  sessions: number;
  consents: number;
  rejections: number;
}

export type CheckStatus = "pass" | "warn" | "fail" | "skip";

export interface Check {
  name: string;
  status: CheckStatus;
  summary: string;
  remedy: string | null;
  durationMs: number;
  data: Record<string, unknown>;
}

export interface Diagnostics {
  status: "ok" | "degraded" | "failing";
  checkedAt: string;
  mode: string;
  project: { id: string; name: string; timeZone: string; consentMode: string; rollupKeys: string[] } | null;
  tablesExist: Record<string, boolean>;
  counts: Record<string, number | null>;
  checks: Check[];
}

export interface Trace {
  found: boolean;
  stages: { stage: string; status: "pass" | "fail" | "skip" | "unknown"; at: string | null; detail: string | null }[];
  verdict: string;
  remedy: string | null;
  sessionId: string | null;
}

export interface RejectionGroup {
  reason: string;
  events: number;
  attempts: number;
  firstReceivedAt: string;
  lastReceivedAt: string;
}

export interface Rejection {
  id: number;
  reason: string;
  details: { loc: (string | number)[]; type: string; message: string }[];
  payload: string | null;
  eventId: string | null;
  sessionId: string | null;
  userId: string | null;
  requestId: string | null;
  receivedAt: string;
  attempts: number;
  events: number;
}

export interface RejectionPage {
  rejections: Rejection[];
  nextCursor: string | null;
}

export interface Replay {
  replayed: number;
  stillRejected: number;
  notKept: number;
  nextCursor: string | null;
}

export interface PilotToken {
  id: string;
  prefix: string;
  participantType: string;
  state: "active" | "expired" | "revoked" | "used_up";
  uses: number;
  maxUses: number;
  note: string | null;
  expiresAt: string | null;
  createdAt: string;
}

export interface IssuedToken {
  id: string;
  token: string;
  participantType: string;
  expiresAt: string | null;
  maxUses: number;
}
