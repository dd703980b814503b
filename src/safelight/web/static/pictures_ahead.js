// Pictures that come next, decoded before they are shown, so that a key never waits for one.
//
// The browser has few connections to a server: the nearest pictures go first, small ones before
// whole ones, and whole ones only where somebody stays for a moment.

const AT_ONCE = 3; // of some six connections; ratings and news need theirs
const SMALL = 768; // pixels of the longer side of a small picture
const DWELL_MS = 180;
const TRY_AGAIN_MS = 2000;
const MOST_KEPT = 40;

export class PicturesAhead {
  /** *arrived* is called when a picture is there, or will not be. */
  constructor(arrived) {
    this.arrived = arrived;
    this.kept = new Map(); // address -> {image, state: coming, there or failed, due: begin again}
    this.wanted = [];
    this.running = 0;
    this.dwelling = null;
  }

  /** The decoded element of *row*, the whole picture where that is there; null when none is. */
  element(row) {
    for (const address of [whole(row), small(row)]) {
      const one = this.kept.get(address);
      if (one?.state === "there") return one.image;
    }
    return null;
  }

  /** Whether *row* cannot be shown: not even whole. */
  failed(row) {
    return this.kept.get(whole(row))?.state === "failed";
  }

  /**
   * Want the pictures of *rows*, nearest first, and the first *near* of them whole.
   *
   * What was wanted before and is not any more is not begun.
   */
  want(rows, near) {
    const soon = rows.map((row) =>
        this.kept.get(small(row))?.state === "failed" ? whole(row) : firstOf(row),
      ),
      then = rows.slice(0, near).map(whole);
    this.begin(soon);
    clearTimeout(this.dwelling);
    this.dwelling = setTimeout(
      () => this.begin([...soon.slice(0, near), ...then, ...soon]),
      DWELL_MS,
    );
  }

  begin(addresses) {
    this.wanted = [...new Set(addresses)];
    for (const [address, one] of this.kept) {
      if (this.kept.size <= MOST_KEPT) break;
      if (!this.wanted.includes(address) && one.state !== "coming") this.kept.delete(address);
    }
    this.goOn();
  }

  goOn() {
    while (this.running < AT_ONCE) {
      const address = this.wanted.find((one) => this.kept.get(one)?.due ?? true);
      if (!address) return;
      const one = this.kept.get(address) ?? { state: "coming" };
      this.kept.set(address, Object.assign(one, { image: new Image(), due: false }));
      this.running += 1;
      one.image.src = address;
      one.image
        .decode()
        .then(
          () => {
            one.state = "there";
          },
          () => this.notThere(address, one),
        )
        .finally(() => {
          this.running -= 1;
          this.arrived();
          this.goOn();
        });
    }
  }

  notThere(address, one) {
    one.state = "failed";
    // A small one that cannot be made is not the end: the whole one may be there.
    if (address.startsWith("/thumbnails/")) this.wanted.unshift(wholeOf(address));
    else
      setTimeout(() => {
        one.due = true; // the server may have been away
        this.goOn();
      }, TRY_AGAIN_MS);
  }
}

const whole = (row) => `/pictures/${row.sha256}`;
const small = (row) => `/thumbnails/${row.sha256}?side=${SMALL}`;
const wholeOf = (address) => `/pictures/${address.slice("/thumbnails/".length).split("?")[0]}`;
/** What is shown first: of a picture that is small itself, it. */
const firstOf = (row) =>
  row.width && Math.max(row.width, row.height) <= SMALL ? whole(row) : small(row);
