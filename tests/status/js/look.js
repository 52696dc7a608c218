// What a person sees and hears of a page, measured in it. Evaluates to functions that tests call.
(() => {
  function numbers(colour) {
    const [red, green, blue, alpha = 1] = colour.match(/[\d.]+/g).map(Number);
    return { red, green, blue, alpha };
  }

  function over(top, below) {
    const mix = (name) => top[name] * top.alpha + below[name] * (1 - top.alpha);
    return { red: mix("red"), green: mix("green"), blue: mix("blue"), alpha: 1 };
  }

  function ground(element) {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(numbers(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), { red: 255, green: 255, blue: 255, alpha: 1 });
  }

  function luminance({ red, green, blue }) {
    const [r, g, b] = [red, green, blue].map((channel) => {
      const part = channel / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }

  function contrast(element) {
    const below = ground(element);
    const [dark, light] = [luminance(over(numbers(getComputedStyle(element).color), below)), luminance(below)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  }

  function hasText(element) {
    return [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
  }

  function faint() {
    return [...document.body.querySelectorAll("*")]
      .filter((element) => hasText(element) && element.checkVisibility())
      .filter((element) => contrast(element) < 4.5)
      .map((element) => `${element.outerHTML.slice(0, 120)}: ${contrast(element).toFixed(2)}`);
  }

  function brightness() {
    return luminance(ground(document.body));
  }

  function openAll() {
    for (const each of document.querySelectorAll("details")) each.open = true;
  }

  function wide() {
    const limit = document.documentElement.clientWidth;
    const inside = (element) => element.closest(".scroll, .diff, .aside, .skip, .sprite");
    return [...document.body.querySelectorAll("*")]
      .filter((element) => !inside(element) && element.getBoundingClientRect().right > limit + 0.5)
      .map((element) => element.outerHTML.slice(0, 120));
  }

  const USABLE = "a[href], button, input:not([type=hidden]), summary";

  function unnamed() {
    const name = (element) => element.getAttribute("aria-label") ?? element.labels?.[0]?.textContent ?? element.textContent;
    return [...document.querySelectorAll(`${USABLE}, [role]:not([role=status])`)]
      .filter((element) => !name(element).trim())
      .map((element) => element.outerHTML);
  }

  function focused() {
    const at = document.activeElement;
    const style = getComputedStyle(at);
    const number = [...document.querySelectorAll(USABLE)].indexOf(at) + 1;
    return { number, outline: `${style.outlineStyle} ${style.outlineWidth}` };
  }

  return { unnamed, focused, faint, brightness, openAll, wide };
})()
