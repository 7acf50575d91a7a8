const WORDS = { fail: "Fails", warn: "Warns", pass: "Passes", skip: "Not checked", unknown: "Unknown" };

/** A word beside the mark: nothing is told by colour alone. */
export function Mark({ status, word = WORDS[status] }: { status: keyof typeof WORDS; word?: string }) {
  return (
    <span class={`mark ${status}`}>
      <i aria-hidden="true" />
      {word}
    </span>
  );
}
