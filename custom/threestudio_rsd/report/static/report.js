"use strict";
// Chooses the prompt, seed and settings whose images are shown, toggles curves and enlarges images. Without it, all is shown.
document.addEventListener("DOMContentLoaded", () => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const cases = all(".case");
  const prompt = document.querySelector("#prompt");
  const seed = document.querySelector("#seed");
  const buttons = all("[role=radio]");
  const wide = window.matchMedia("(min-width: 900px)").matches;
  const first = buttons.find((button) => button.dataset.setting === "0");
  let setting = first && !wide ? "0" : "all"; // on a narrow screen one setting at a time

  function show() {
    const ofPrompt = cases.filter((each) => !prompt || each.dataset.prompt === prompt.value);
    const chosen = ofPrompt.find((each) => !seed || each.dataset.seed === seed.value) || ofPrompt[0];
    if (!chosen) return;
    if (seed) {
      for (const option of seed.options) option.disabled = !ofPrompt.some((each) => each.dataset.seed === option.value);
      seed.value = chosen.dataset.seed;
    }
    const parts = all("[data-setting]", chosen); // figures, and rows of answers
    const there = new Set(["all", ...parts.flatMap((part) => [part.dataset.setting, part.dataset.curve])]);
    if (!there.has(setting)) setting = "all";
    for (const each of cases) each.classList.toggle("chosen", each === chosen);
    const wanted = parts.filter((part) => ["all", part.dataset.setting, part.dataset.curve].includes(setting));
    for (const part of parts) part.classList.toggle("left-out", !wanted.includes(part));
    chosen.classList.toggle("single", wanted.length === 1);
    for (const button of buttons) {
      const checked = button.dataset.setting === setting;
      button.setAttribute("aria-checked", checked);
      button.tabIndex = checked ? 0 : -1;
      button.hidden = !there.has(button.dataset.setting);
    }
    const checked = buttons.find((button) => button.tabIndex === 0);
    const group = checked && checked.parentElement;
    if (group) group.scrollTop = Math.max(0, checked.offsetTop - group.offsetTop - group.clientHeight / 2);
    for (const video of all("video")) if (video.offsetParent === null) video.pause();
  }

  for (const chooser of [prompt, seed]) if (chooser) chooser.addEventListener("change", show);
  for (const button of buttons) {
    button.addEventListener("click", () => {
      setting = button.dataset.setting;
      show();
    });
    button.addEventListener("keydown", (event) => {
      const usable = buttons.filter((each) => !each.hidden);
      const place = usable.indexOf(button);
      const next = { ArrowRight: place + 1, ArrowDown: place + 1, ArrowLeft: place - 1, ArrowUp: place - 1, Home: 0, End: -1 };
      if (!(event.key in next)) return;
      event.preventDefault();
      const target = usable.at(next[event.key] % usable.length);
      setting = target.dataset.setting;
      show();
      target.focus();
    });
  }

  function toggle(button) {
    const shown = button.getAttribute("aria-pressed") === "false";
    button.setAttribute("aria-pressed", shown);
    for (const part of all(`svg.chart [data-series="${button.dataset.series}"]`, button.closest(".charted"))) {
      part.style.display = shown ? "" : "none";
    }
  }
  for (const button of all(".legend button")) button.addEventListener("click", () => toggle(button));
  for (const button of all(".legend button[data-later]")) toggle(button);

  const dialog = document.querySelector("#zoom");
  const picture = dialog.querySelector("img");
  const caption = dialog.querySelector("#zoom-caption");
  let place = 0;
  const visible = () => all(".zoom img").filter((image) => image.offsetParent !== null);
  function enlarge(to) {
    const images = visible();
    place = (to + images.length) % images.length;
    picture.src = images[place].src;
    picture.alt = images[place].alt;
    picture.className = images[place].className;
    caption.textContent = `${images[place].alt} (${place + 1} of ${images.length})`;
  }
  for (const button of all(".zoom")) {
    button.addEventListener("click", () => {
      enlarge(visible().indexOf(button.querySelector("img")));
      dialog.showModal();
    });
  }
  dialog.querySelector("#zoom-back").addEventListener("click", () => enlarge(place - 1));
  dialog.querySelector("#zoom-on").addEventListener("click", () => enlarge(place + 1));
  dialog.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    enlarge(place + step);
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  show();
});
