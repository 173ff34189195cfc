// The index as `terms.py` keeps it: {pages: "words that stand on just these"}, a page one sign; the words in parts by their first letter.
const ungroup = (groups) => Object.fromEntries(Object.entries(groups).flatMap(([signs, words]) => {
  const pages = [...signs].map((sign) => sign.codePointAt(0) - 48);
  return words.split(" ").map((word) => [word, pages.length > 1 ? pages : pages[0]]);
}));
const openIndex = async (index, parts, count) => {
  const waiting = new Set(parts);
  const load = (part) => waiting.delete(part) && new Promise((done, failed) => {
    const script = document.createElement("script");
    Object.assign(script, { src: `searchterms-${part}.js`, onload: done, onerror: failed });
    document.head.append(script);
  });
  Object.assign(index, { terms: {}, titleterms: ungroup(index.titleterms) });
  globalThis.addTerms = (groups) => Object.assign(index.terms, ungroup(groups));
  const asked = new URLSearchParams(location.search).get("q") ?? "";
  const words = splitQuery(asked.trim().toLowerCase()).filter((word) => word && ![...stopwords].includes(word))
    .map((word) => new Stemmer().stemWord(word));
  await Promise.all(words.map((word) => load(word.codePointAt(0) % count)));
  const inWords = words.some((word) => word.length > 2 && !Object.hasOwn(index.terms, word)); // then Sphinx looks within all words
  if (inWords) await Promise.all(parts.map(load));
  Search.setIndex(index);
};
