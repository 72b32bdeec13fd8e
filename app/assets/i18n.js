// Languages: the browser's wish comes with the page, the switch in the header overrides it.
import en from "./texts.en.js";
import ko from "./texts.ko.js";

const LANGUAGE_KEY = "ticketing.language";
const texts = { en, ko };

/** The languages that there are, in their own words. */
export const languages = { en: "English", ko: "한국어" };

/** The language in use. */
export let language = texts[localStorage.getItem(LANGUAGE_KEY)] ? localStorage.getItem(LANGUAGE_KEY) : document.documentElement.lang;

export function setLanguage(next) {
  language = next;
  localStorage.setItem(LANGUAGE_KEY, next);
}

/** The text with this key; `{name}` in it stands for a value. */
export function t(key, values = {}) {
  return texts[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** What to tell people about an error. */
export function errorText(error) {
  const known = texts[language][`error.${error.code}`];
  if (known) return known;
  console.error(error);
  return t("error.internal");
}

/** Amounts are in won, which has no smaller unit. */
export function money(amount) {
  return new Intl.NumberFormat(language, { style: "currency", currency: "KRW" }).format(amount);
}

/** What something costs. */
export function price(amount) {
  return amount === 0 ? t("free") : money(amount);
}

export function number(value) {
  return new Intl.NumberFormat(language).format(value);
}

/** Date and time in the viewer's own time zone. */
export function dateTime(text) {
  return new Intl.DateTimeFormat(language, {
    year: "numeric", month: "short", day: "numeric", weekday: "short", hour: "numeric", minute: "2-digit",
  }).format(new Date(text));
}

/** The time of day of a moment in milliseconds. */
export function timeOfDay(moment) {
  return new Intl.DateTimeFormat(language, { hour: "numeric", minute: "2-digit" }).format(moment);
}

export function day(text) {
  const date = new Date(text);
  const part = (options) => new Intl.DateTimeFormat(language, options).format(date);
  return { month: part({ month: "short" }), day: String(date.getDate()), weekday: part({ weekday: "short" }) };
}

/** Seconds as minutes and seconds. */
export function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/** Seconds in words, roughly. */
export function duration(seconds) {
  if (seconds < 60) return t("seconds", { n: seconds });
  if (seconds < 5400) return t("minutes", { n: Math.round(seconds / 60) });
  return t("hours", { n: Math.round(seconds / 3600) });
}

/** A seat as people call it. */
export function seatName(seatId) {
  const at = seatId.lastIndexOf("-");
  return t("seatName", { row: seatId.slice(0, at), number: seatId.slice(at + 1) });
}
