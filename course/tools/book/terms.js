// The index as `terms.py` keeps it: {pages: "words that stand on just these"}, a page one sign; Chinese pairs in files of their own.
const ungroup = (groups) => Object.fromEntries(Object.entries(groups).flatMap(([signs, words]) => {
  const pages = [...signs].map((sign) => sign.codePointAt(0) - 48);
  return words.split(" ").map((word) => [word, pages.length > 1 ? pages : pages[0]]);
}));
const openIndex = (index, parts, count) => {
  const asked = new URLSearchParams(location.search).get("q") ?? "";
  const needed = new Set([...asked].map((sign) => sign.codePointAt(0) % count).filter((part) => parts.includes(part)));
  for (const name of ["terms", "titleterms"]) index[name] = ungroup(index[name]);
  globalThis.addTerms = (groups) => Object.assign(index.terms, ungroup(groups));
  const load = (part) => new Promise((done, failed) => {
    const script = document.createElement("script");
    Object.assign(script, { src: `searchterms-${part}.js`, onload: done, onerror: failed });
    document.head.append(script);
  });
  Promise.all([...needed].map(load)).then(() => Search.setIndex(index));
};
