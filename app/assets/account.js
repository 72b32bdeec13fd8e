// Logging in and signing up.
import { login, signUp } from "./api.js";
import { errorText, t } from "./i18n.js";
import { field, h } from "./ui.js";

/** Asks who it is. True once somebody is logged in. */
export function askLogin() {
  return new Promise((resolve) => {
    const dialog = h("dialog", { "aria-labelledby": "login-title", id: "login-dialog", class: "narrow" });
    const fill = (isNew) => {
      const error = h("p", { class: "problem", role: "alert", hidden: true });
      const submit = h("button", { class: "button", type: "submit", id: "login-submit" }, t(isNew ? "signup" : "login"));
      const form = h("form", { method: "dialog", onsubmit: send },
        isNew && field(t("name"), { name: "name", autocomplete: "name", required: true, maxlength: 100 }),
        field(t("email"), { name: "email", type: "email", autocomplete: "username", required: true }),
        field(t(isNew ? "newPassword" : "password"), {
          name: "password", type: "password", required: true, maxlength: 200, minlength: isNew ? 8 : null,
          autocomplete: isNew ? "new-password" : "current-password",
        }),
        error,
        h("div", { class: "actions" },
          h("button", { class: "button quiet", type: "button", onclick: () => dialog.close() }, t("back")), submit));
      async function send(event) {
        event.preventDefault();
        const values = new FormData(form);
        submit.disabled = true;
        error.hidden = true;
        try {
          if (isNew) await signUp(values.get("name"), values.get("email"), values.get("password"));
          else await login(values.get("email"), values.get("password"));
          dialog.close("done");
        } catch (problem) {
          error.textContent = errorText(problem);
          error.hidden = false;
          submit.disabled = false;
        }
      }
      dialog.replaceChildren(
        h("h2", { id: "login-title" }, t(isNew ? "signup" : "login")), form,
        h("p", { class: "aside" }, t(isNew ? "haveAccount" : "noAccount"), " ",
          h("button", { class: "link", type: "button", id: "login-switch", onclick: () => fill(!isNew) }, t(isNew ? "login" : "signup"))));
      dialog.querySelector("input").focus();
    };
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "done");
    });
    document.body.append(dialog);
    fill(false);
    dialog.showModal();
  });
}
