/* Numbers and codes in plain words. */

const REASONS = {
  face_too_small: "face too small",
  face_blurred: "face blurred",
  face_turned: "face turned away",
  face_too_dark: "face too dark",
  face_too_bright: "face too bright",
  face_cut_off: "face cut off",
};

export const reason = (code) => REASONS[code] ?? code.replaceAll("_", " ");
export const distance = (value) => value.toFixed(3);

/** 0.0007 -> "1 in 1,400": two digits, since measured rates carry no more. */
export function rate(fmr) {
  if (fmr == null) return "not measured";
  if (fmr === 0) return "none seen";
  const one = 1 / fmr;
  const unit = 10 ** Math.max(Math.floor(Math.log10(one)) - 1, 0);
  return `1 in ${(Math.round(one / unit) * unit).toLocaleString("en")}`;
}

/** With the high end of its 95 % interval: what it may really be. */
export function rateUpTo(fmr, interval) {
  return interval ? `${rate(fmr)}, at worst ${rate(interval[1])}` : rate(fmr);
}

export const faces = (count) => (count === 1 ? "1 face" : `${count} faces`);
