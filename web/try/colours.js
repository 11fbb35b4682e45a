/** Colours of the page's style, for canvases. */

/** A colour by its name, `--accent`, as it is in the theme that is on. */
export function colourOf(name) {
  const probe = document.createElement("i");
  probe.hidden = true;
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}
