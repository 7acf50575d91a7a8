import { useState } from "preact/hooks";

/** A search field for an id. It passes the text on as typed. */
export function Search(props: {
  label: string;
  placeholder: string;
  action: string;
  value: string;
  onSearch: (typed: string) => void;
  pattern?: string;
  title?: string;
  maxLength?: number;
}) {
  const { label, action, onSearch, value, ...input } = props;
  const [typed, setTyped] = useState(value);
  return (
    <search>
      <form
        class="row search"
        onSubmit={(event) => {
          event.preventDefault();
          onSearch(typed);
        }}
      >
        <label>
          <span class="hidden">{label}</span>
          <input
            type="search"
            value={typed}
            onInput={(event) => setTyped(event.currentTarget.value)}
            spellcheck={false}
            required
            {...input}
          />
        </label>
        <button type="submit" class="primary">
          {action}
        </button>
      </form>
    </search>
  );
}
