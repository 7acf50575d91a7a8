import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";

export function Confirm(props: {
  title: string;
  action: string;
  word: string;
  children: ComponentChildren;
  onConfirm: () => void;
  onCancel: () => void;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [typed, setTyped] = useState("");
  const id = useId();
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} aria-labelledby={id} onClose={props.onCancel}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (typed === props.word) props.onConfirm();
        }}
      >
        <h2 id={id}>{props.title}</h2>
        {props.children}
        <label>
          Type <code>{props.word}</code> to confirm
          <input
            value={typed}
            onInput={(event) => setTyped(event.currentTarget.value)}
            autocomplete="off"
            spellcheck={false}
          />
        </label>
        <div class="row end">
          <button type="button" onClick={() => dialog.current?.close()}>
            Cancel
          </button>
          <button type="submit" class="danger" disabled={typed !== props.word}>
            {props.action}
          </button>
        </div>
      </form>
    </dialog>
  );
}
