const WORDS = { fail: "Fail", warn: "Warning", pass: "Pass", skip: "Skipped", unknown: "Unknown" };

/** A coloured mark with its status as a word, for readers who cannot tell the colours apart. */
export function Mark({ status, word = WORDS[status] }: { status: keyof typeof WORDS; word?: string }) {
  return (
    <span class={`mark ${status}`}>
      <i aria-hidden="true" />
      {word}
    </span>
  );
}
