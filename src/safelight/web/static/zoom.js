// Zoom and move pictures together: every element of one group gets the same transform.
export class Zoom {
  constructor(frame, images, { needsCtrl = false, onShow = null } = {}) {
    this.frame = frame;
    this.images = images;
    this.onShow = onShow;
    this.scale = 1;
    this.x = 0;
    this.y = 0;
    this.pointers = new Map();
    this.moved = false;
    frame.addEventListener(
      "wheel",
      (event) => {
        if (needsCtrl && !event.ctrlKey) return;
        event.preventDefault();
        this.by(Math.exp(-event.deltaY / 400), event);
      },
      { passive: false },
    );
    frame.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.moved = false;
      this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
      if (this.scale > 1) {
        event.preventDefault();
        frame.setPointerCapture(event.pointerId);
      }
    });
    frame.addEventListener("pointermove", (event) => {
      const before = this.pointers.get(event.pointerId);
      if (!before) return;
      const here = [event.clientX, event.clientY];
      if (this.pointers.size === 2) {
        const [other] = [...this.pointers]
          .filter(([id]) => id !== event.pointerId)
          .map(([, at]) => at);
        const far = (at) => Math.hypot(at[0] - other[0], at[1] - other[1]) || 1;
        this.by(far(here) / far(before), event);
        this.moved = true;
      } else if (this.scale > 1) {
        this.x += here[0] - before[0];
        this.y += here[1] - before[1];
        this.moved = true;
        this.show();
      }
      this.pointers.set(event.pointerId, here);
    });
    const up = (event) => this.pointers.delete(event.pointerId);
    frame.addEventListener("pointerup", up);
    frame.addEventListener("pointercancel", up);
    frame.addEventListener(
      "click",
      (event) => {
        if (this.moved) {
          event.preventDefault();
          event.stopPropagation();
        }
      },
      true,
    );
    frame.addEventListener("dblclick", () => {
      if (this.scale > 1) this.fit();
      else this.to(2);
    });
  }
  by(factor, event = null) {
    const scale = Math.min(32, Math.max(1, this.scale * factor));
    if (event) {
      const pane = event.target.closest?.(".pane, .cell") ?? this.frame;
      const box = pane.getBoundingClientRect();
      const cx = event.clientX - box.left - box.width / 2,
        cy = event.clientY - box.top - box.height / 2;
      this.x = cx - ((cx - this.x) * scale) / this.scale;
      this.y = cy - ((cy - this.y) * scale) / this.scale;
    } else {
      this.x *= scale / this.scale;
      this.y *= scale / this.scale;
    }
    this.scale = scale;
    if (scale === 1) {
      this.x = 0;
      this.y = 0;
    }
    this.show();
  }
  to(scale) {
    this.scale = scale;
    this.x = 0;
    this.y = 0;
    this.show();
  }
  fit() {
    this.to(1);
  }
  toggle() {
    if (this.scale > 1) this.fit();
    else this.to(this.natural());
  }
  natural() {
    const image = this.images()[0];
    if (!image?.naturalWidth) return 2;
    const shown = Math.min(
      image.clientWidth / image.naturalWidth,
      image.clientHeight / image.naturalHeight,
    );
    return shown > 0 && shown < 0.9 ? 1 / shown : 2;
  }
  show() {
    for (const image of this.images()) {
      image.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
      const drawn = image.naturalWidth ? (image.clientWidth / image.naturalWidth) * this.scale : 1;
      image.classList.toggle("crisp", drawn > 2);
    }
    this.frame.classList.toggle("is-zoomed", this.scale > 1);
    this.onShow?.(this.scale);
  }
}
