// Small helpers to build the page. Text always goes in as text, never as markup.

/**
 * Makes an element. Attributes with the value false, null or undefined are left out; `on…` are listeners;
 * `class` and the rest are attributes. Children are nodes, texts or nested lists of them.
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...present(children));
  return element;
}

/** Gives an element new children, like those of `h`. */
export function fill(element, ...children) {
  element.replaceChildren(...present(children));
}

function present(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

/** Tells users of screen readers what changed elsewhere on the page. */
export function announce(text) {
  document.getElementById("announcer").textContent = text;
}

/** Shows a message for some seconds. Errors stay longer. */
export function toast(text, kind = "info") {
  const message = h("div", { class: `toast toast-${kind}` }, text);
  document.getElementById("toasts").append(message);
  setTimeout(() => message.remove(), kind === "error" ? 8000 : 4000);
}

/** Gives the focus to the content when what had it is gone: who uses the keyboard does not begin at the top again. */
export function refocus() {
  if (document.activeElement === document.body) document.getElementById("main").focus({ preventScroll: true });
}

/** A button that does nothing more while what it started is under way. It keeps the focus, so it is not disabled. */
export function actionButton(label, attributes, action) {
  const button = h("button", { type: "button", ...attributes }, label);
  let busy = false;
  button.addEventListener("click", async () => {
    if (busy) return;
    busy = true;
    button.setAttribute("aria-busy", "true");
    try {
      await action();
    } finally {
      busy = false;
      button.removeAttribute("aria-busy");
      if (!button.isConnected) refocus();
    }
  });
  return button;
}

/** A labelled input field. */
export function field(label, attributes) {
  return h("label", { class: "field" }, h("span", {}, label), h("input", attributes));
}

/** Waits, but not longer than the signal allows. */
export function sleep(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}

/** What is shown while something loads. */
export function loading(text) {
  return h("div", { class: "state", role: "status" }, h("span", { class: "spinner", "aria-hidden": "true" }), text);
}

/** What is shown when there is nothing, or something failed. */
export function notice(text, ...more) {
  return h("div", { class: "state" }, h("p", {}, text), ...more);
}

/** Counts down once a second to a moment, until the signal or the end. */
export function countdown(element, until, format, signal, ended) {
  const tick = () => {
    const left = Math.max(0, Math.round((until - Date.now()) / 1000));
    element.textContent = format(left);
    if (left === 0) {
      clearInterval(timer);
      ended?.();
    }
  };
  const timer = setInterval(tick, 1000);
  signal.addEventListener("abort", () => clearInterval(timer), { once: true });
  tick();
}
