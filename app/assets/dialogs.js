// Dialogs: they keep the focus, and Escape means the harmless answer.
import { errorText, t } from "./i18n.js";
import { actionButton, fill, h } from "./ui.js";

let number = 0;

/**
 * Shows a dialog and waits for its end. `actions` are `{ label, value, kind, id, run }`: when `run` is there it must
 * succeed before the dialog closes with `value`; what it throws is shown. Escape, or the signal, closes with null.
 */
export function openDialog({ title, content, actions, signal, id }) {
  return new Promise((resolve) => {
    const label = `dialog-title-${++number}`;
    const error = h("p", { class: "problem", role: "alert", hidden: true });
    const dialog = h("dialog", { "aria-labelledby": label, id });
    let result = null;
    const finish = (value) => {
      result = value;
      dialog.close();
    };
    const fail = (problem) => {
      error.textContent = errorText(problem);
      error.hidden = false;
    };
    const buttons = actions.map(({ label: text, value, kind = "quiet", id: buttonId, run }) =>
      actionButton(text, { class: `button ${kind}`, id: buttonId }, async () => {
        error.hidden = true;
        try {
          await run?.();
          finish(value);
        } catch (problem) {
          fail(problem);
        }
      }));
    fill(dialog, h("h2", { id: label }, title), content, error, h("div", { class: "actions" }, buttons));
    dialog.addEventListener("close", () => {
      dialog.remove();
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
