// Elements of our pages.

/** The first element of the class imgsim-NAME. */
export const find = (name) => document.querySelector(`.imgsim-${name}`);

/** A new element with these properties and children. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Whether a click on a link asks for another tab or window, which is the browser's matter. */
export const opensElsewhere = (event) => event.metaKey || event.ctrlKey || event.shiftKey;
