/** What a browser shows of the report. */
export interface Probe {
  readonly plots: readonly {
    readonly id: string;
    readonly title: string;
    readonly width: number;
    readonly height: number;
    /** How many of the two drawings are shown. */
    readonly shown: number;
    /** Shapes that are not axes: in a colour that is not grey, and not empty. */
    readonly marks: number;
  }[];
  readonly headings: readonly string[];
  readonly documentWidth: number;
  readonly viewportWidth: number;
  /** Visible text below 11 pixels as rendered, with its size. */
  readonly smallText: readonly string[];
  /** Text of plots that sticks out of its drawing. */
  readonly cutText: readonly string[];
  /** Elements with text that are wider than the screen, outside of containers that scroll. */
  readonly tooWide: readonly string[];
}

/** Runs in the page; a text, because this project's types know no DOM. */
export const PROBE = `(() => {
  const box = (element) => element.getBoundingClientRect();
  const isShown = (element) => box(element).width > 0 && box(element).height > 0;
  const isColored = (color) => {
    const rgb = (color.match(/\\d+/g) ?? []).slice(0, 3).map(Number);
    return rgb.length === 3 && Math.max(...rgb) - Math.min(...rgb) > 40;
  };
  const isMark = (element) => {
    const { fill, stroke } = getComputedStyle(element);
    const size = box(element);
    return (isColored(fill) || isColored(stroke)) && (size.width > 1 || size.height > 1);
  };
  const plots = [...document.querySelectorAll("figure.plot")].map((figure) => {
    const shown = [...figure.querySelectorAll("svg")].filter(isShown);
    const svg = shown[0];
    return {
      id: figure.id,
      title: svg?.querySelector("title")?.textContent ?? "",
      width: svg ? box(svg).width : 0,
      height: svg ? box(svg).height : 0,
      shown: shown.length,
      marks: svg ? [...svg.querySelectorAll("path,polyline,polygon,rect,circle")].filter(isMark).length : 0,
    };
  });
  const texts = [...document.querySelectorAll("body *")].filter(
    (element) =>
      isShown(element) &&
      [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim() !== "") &&
      !["style", "title"].includes(element.tagName),
  );
  const scale = (element) => {
    const svg = element.closest("svg");
    return svg === null ? 1 : box(svg).width / svg.viewBox.baseVal.width;
  };
  const size = (element) => parseFloat(getComputedStyle(element).fontSize) * scale(element);
  return {
    plots,
    headings: [...document.querySelectorAll("h1,h2")].map((heading) => heading.textContent),
    documentWidth: document.documentElement.scrollWidth,
    viewportWidth: document.documentElement.clientWidth,
    smallText: texts
      .filter((element) => size(element) < 11)
      .map((element) => size(element) + ": " + element.textContent),
    cutText: texts
      .filter((element) => element.tagName === "text")
      .filter((element) => {
        const svg = box(element.closest("svg"));
        const own = box(element);
        const isCutAside = own.left < svg.left - 1 || own.right > svg.right + 1;
        return isCutAside || own.top < svg.top - 1 || own.bottom > svg.bottom + 1;
      })
      .map((element) => element.closest("figure").id + ": " + element.textContent),
    tooWide: texts
      .filter((element) => element.closest(".scroll") === null)
      .filter((element) => box(element).right > document.documentElement.clientWidth + 1)
      .map((element) => element.textContent),
  };
})()`;
