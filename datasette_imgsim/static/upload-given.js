// Pictures that are chosen, dropped or pasted, and what else is dropped and pasted.

const TEXT_FIELDS =
  "textarea, [contenteditable], input:not([type=file], [type=range], [type=checkbox], [type=radio])";
const isTextField = (target) => target instanceof Element && target.closest(TEXT_FIELDS) !== null;

/** Calls `search` with each picture that is given, or `refuse` with a sentence. */
export function takeImages(input, search, refuse) {
  // Takes the one file, or says why not.
  function take(files) {
    if (files.length === 1) return search(files[0]);
    refuse(`One image at a time is compared, and these are ${files.length}: choose one of them`);
  }

  function refuseText(text) {
    const what = /^\s*\w+:\S+\s*$/.test(text) ? "an address" : "text";
    refuse(`This is ${what}, not an image: copy the image itself, or save it and choose its file`);
  }

  input.addEventListener("change", () => {
    const files = [...input.files];
    input.value = ""; // the same file can be chosen again
    if (files.length) take(files);
  });

  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files || [])];
    const text = event.clipboardData?.getData("text/plain");
    if (text && isTextField(event.target)) return;
    if (files.length) take(files);
    else if (text) refuseText(text);
  });

  onDropped((data) => {
    const files = [...data.files];
    const folder = [...data.items].find((item) => item.webkitGetAsEntry()?.isDirectory);
    if (folder) refuse(`${folder.webkitGetAsEntry().name} is a folder: drop one image of it`);
    else if (files.length) take(files);
    else refuseText(data.getData("text/uri-list") || data.getData("text/plain"));
  });
}

function onDropped(take) {
  const mark = (on) => document.body.classList.toggle("imgsim-dropping", on);
  let isOurs = false; // what is dragged comes from this page
  const isTaken = ({ dataTransfer: data, target }) =>
    data && !isOurs && (data.types.includes("Files") || (data.types.length > 0 && !isTextField(target)));

  addEventListener("dragstart", () => (isOurs = true));
  addEventListener("dragend", () => (isOurs = false));
  addEventListener("dragover", (event) => {
    if (!isTaken(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    mark(true);
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) mark(false);
  });
  addEventListener("drop", (event) => {
    mark(false);
    if (!isTaken(event)) return;
    event.preventDefault();
    take(event.dataTransfer);
  });
}
