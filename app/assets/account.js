// Logging in and signing up.
import { call, finishLogin, login, Problem, signUp } from "./api.js";
import { tell } from "./dialogs.js";
import { errorText, t } from "./i18n.js";
import { field, fill, h, refocus } from "./ui.js";

/** Links to the providers at which one can log in besides here; empty while they aren't known. */
function providerLinks() {
  const links = h("div", { class: "providers" });
  const back = `${location.pathname}${location.hash}`;
  call("GET", "/api/auth/providers").then((providers) => fill(links, providers.map(({ name, startPath }) =>
    h("a", { class: "button quiet wide", "data-provider": name, href: `${startPath}?${new URLSearchParams({ back })}` }, t("loginWith", { name })))),
  (error) => {
    // The password still works.
    if (!(error instanceof Problem)) throw error;
  });
  return links;
}

/** Takes up a login at a provider, when the browser comes back from there. */
export async function comeBack() {
  const address = new URL(location.href);
  const outcome = address.searchParams.get("login");
  if (outcome === null) return;
  address.searchParams.delete("login");
  history.replaceState(null, "", address);
  try {
    if (outcome !== "done") throw new Problem(0, outcome, "");
    await finishLogin();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    tell(error);
  }
}

/** Asks who it is. True once somebody is logged in. */
export function askLogin() {
  return new Promise((resolve) => {
    const dialog = h("dialog", { "aria-labelledby": "login-title", id: "login-dialog", class: "narrow" });
    const show = (isNew) => {
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
        h("h2", { id: "login-title" }, t(isNew ? "signup" : "login")), form, providerLinks(),
        h("p", { class: "aside" }, t(isNew ? "haveAccount" : "noAccount"), " ",
          h("button", { class: "link", type: "button", id: "login-switch", onclick: () => show(!isNew) }, t(isNew ? "login" : "signup"))));
      dialog.querySelector("input").focus();
    };
    dialog.addEventListener("close", () => {
      dialog.remove();
      refocus();
      resolve(dialog.returnValue === "done");
    });
    document.body.append(dialog);
    show(false);
    dialog.showModal();
  });
}
