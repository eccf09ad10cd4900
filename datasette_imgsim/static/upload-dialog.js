// The dialog that shows the picture that is sent: how far it is, or what is wrong with it.

import { make } from "./elements.js";

const button = (text, onclick) =>
  make("button", { type: "button", className: "imgsim-button", onclick }, text);

const heading = make("h2", { id: "imgsim-sending" }, "Find images like yours");
const picture = make("img", { alt: "", onerror: () => (picture.hidden = true) });
const name = make("figcaption");
const figure = make("figure", {}, picture, name);
const progress = make("progress", { ariaLabel: "Sent", max: 1 });
const status = make("p", { role: "status" });
const another = button("Choose another image");
const close = button("Cancel", () => dialog.close());
const dialog = make(
  "dialog",
  { className: "imgsim-sending" },
  heading,
  figure,
  progress,
  status,
  make("p", { className: "imgsim-sending-buttons" }, another, close),
);
dialog.setAttribute("aria-labelledby", heading.id);
document.body.append(dialog);

/** The dialog. */
export const shown = {
  /** Shows a file that is about to be sent; without one, only what is said next. */
  show(file) {
    free();
    figure.hidden = !file;
    picture.hidden = false;
    if (file) picture.src = URL.createObjectURL(file);
    name.textContent = file?.name;
    another.hidden = true;
    close.textContent = "Cancel";
    status.className = "";
    shown.advance(0);
    if (!dialog.open) dialog.showModal();
    close.focus();
  },

  /** Says how much has been sent, 0 to 1. */
  advance(share) {
    progress.hidden = false;
    progress.value = share;
    if (share < 1) tell("Sending …");
  },

  /** Says what is waited for, of which there is no measure. */
  say(text) {
    progress.removeAttribute("value");
    tell(text);
  },

  /** Says what is wrong. */
  fail(text) {
    progress.hidden = true;
    tell(text);
    status.className = "imgsim-wrong";
    close.textContent = "Close";
    another.hidden = false;
    another.focus();
  },

  onCancel: (then) => dialog.addEventListener("close", then),
  onAnother: (then) => (another.onclick = then),
};

// Screen readers say it whenever it is set.
function tell(text) {
  if (status.textContent !== text) status.textContent = text;
}

function free() {
  URL.revokeObjectURL(picture.src);
  picture.removeAttribute("src");
}

dialog.addEventListener("close", free);
// Who comes back to this page finds it as it was before.
addEventListener("pagehide", () => dialog.close());
