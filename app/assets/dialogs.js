// Dialogs: they keep the focus, and Escape means the harmless answer.
import { errorText, t } from "./i18n.js";
import { actionButton, fill, h } from "./ui.js";

let number = 0;

/**
 * Shows a dialog and waits for its end. `actions` are `{ label, value, kind, id, run }`: when `run` is there it must
 * succeed before the dialog closes with `value`; what it throws is shown. Escape, or the signal, closes with null, but
 * not while something runs: that may be done already, and whoever waits for the dialog would take it for undone.
 */
export function openDialog({ title, content, actions, signal, id }) {
  return new Promise((resolve) => {
    const label = `dialog-title-${++number}`;
    const error = h("p", { class: "problem", role: "alert", hidden: true });
    const dialog = h("dialog", { "aria-labelledby": label, id });
    let result = null;
    let running = null;
    const attempt = async (value, run) => {
      try {
        await run?.();
        result = value;
        dialog.close();
      } catch (problem) {
        error.textContent = errorText(problem);
        error.hidden = false;
      }
    };
    const buttons = actions.map(({ label: text, value, kind = "quiet", id: buttonId, run }) =>
      actionButton(text, { class: `button ${kind}`, id: buttonId }, async () => {
        error.hidden = true;
        const others = [...dialog.querySelectorAll("button:not([aria-busy], :disabled)")];
        for (const other of others) other.disabled = true;
        running = attempt(value, run);
        await running;
        running = null;
        for (const other of others) other.disabled = false;
      }));
    fill(dialog, h("h2", { id: label }, title), content, error, h("div", { class: "actions" }, buttons));
    dialog.addEventListener("cancel", (event) => running && event.preventDefault());
    // The second of two Escapes cannot be prevented as `cancel`.
    dialog.addEventListener("keydown", (event) => event.key === "Escape" && running && event.preventDefault());
    dialog.addEventListener("close", async () => {
      dialog.remove();
      await running;
      resolve(result);
    });
    signal?.addEventListener("abort", () => dialog.close(), { once: true });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Says that something went wrong. */
export function tell(error, signal) {
  return openDialog({
    title: t("sorry"), content: h("p", {}, errorText(error)), signal, id: "problem-dialog",
    actions: [{ label: t("close"), value: true, kind: "" }],
  });
}
