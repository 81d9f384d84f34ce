"""Trains the model on the shards in data/, in order, one pass.

Muon for the matrices, AdamW for embedding and norms; batches of dialogues of
similar length, padded.  Tokens that the assistant writes weigh 1, all others
less (they help the copying heads to form).  Resumes from the checkpoint.
"""

import argparse
import math
import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import fast
import structured_init
from model import Config, Model

HERE = Path(__file__).parent


class Muon:
    """Momentum, orthogonalised by Newton-Schulz steps, square tiles batched."""

    def __init__(self, params, parts, momentum=0.95, decay=0.01):
        self.params, self.parts, self.momentum, self.decay = params, parts, momentum, decay
        self.state = [torch.zeros_like(p) for p in params]

    @staticmethod
    def orthogonal(g):
        """[n, rows, cols] with rows <= cols -> nearest semi-orthogonal maps."""
        a, b, c = 3.4445, -4.7750, 2.0315
        x = (g / (g.norm(dim=(1, 2), keepdim=True) + 1e-7)).to(torch.bfloat16)
        for _ in range(5):
            s = torch.bmm(x, x.transpose(1, 2))
            x = torch.baddbmm(x, torch.baddbmm(s, s, s, beta=b, alpha=c), x, beta=a)
        return x.float()

    @torch.no_grad()
    def step(self, lr):
        shapes = {}
        for p, parts, m in zip(self.params, self.parts, self.state):
            m.mul_(self.momentum).add_(p.grad)
            g = p.grad + self.momentum * m
            # fused matrices (q, k, v; gate, up) are separate maps: treat them so
            for row, x in enumerate(g.chunk(parts)):
                size = row * x.shape[0], p
                tall = x.shape[0] > x.shape[1]
                x = x.t() if tall else x
                shapes.setdefault(tuple(x.shape), []).append((x, tall, *size))
            p.mul_(1 - lr * self.decay)
        for group in shapes.values():
            for u, (_, tall, row, p) in zip(self.orthogonal(torch.stack([x for x, *_ in group])), group):
                u = u.t() if tall else u
                p[row : row + u.shape[0]].add_(u, alpha=-lr * math.sqrt(max(1, u.shape[0] / u.shape[1])))


def batches(path, budget, seed):
    """Dialogues of similar length, about `budget` padded tokens a batch."""
    z = np.load(path)
    tokens, roles, starts = z["tokens"], z["roles"], z["starts"]
    rng = random.Random(seed)
    order = sorted(range(len(starts) - 1), key=lambda i: starts[i + 1] - starts[i] + rng.random() * 60)
    groups, group, longest = [], [], 0
    for i in order:
        n = int(starts[i + 1] - starts[i])
        if group and max(longest, n) * (len(group) + 1) > budget:
            groups.append(group)
            group, longest = [], 0
        group.append(i)
        longest = max(longest, n)
    groups.append(group)
    rng.shuffle(groups)
    for group in groups:
        # few distinct widths: oneDNN makes a kernel for every new shape
        width = (max(int(starts[i + 1] - starts[i]) for i in group) + 62) // 64 * 64 + 1
        ids = np.zeros((len(group), width), np.int64)
        mark = np.full((len(group), width), 255, np.uint8)
        for row, i in enumerate(group):
            a, b = starts[i], starts[i + 1]
            ids[row, : b - a] = tokens[a:b]
            mark[row, : b - a] = roles[a:b]
        yield torch.from_numpy(ids), torch.from_numpy(mark)


@torch.no_grad()
def check(model, path, dtype, limit=100):
    """Share of held-out assistant turns whose every token is the argmax.

    Equals greedy decoding of the whole turn being exact.
    """
    turns = right = calls = calls_right = 0
    for ids, mark in batches(path, 4096, 1):
        h = fast.hidden(model, ids[:, :-1])
        best = F.linear(h, model.embed.to(dtype)).argmax(-1).view(len(ids), -1)
        hit = (best == ids[:, 1:]).numpy()
        mark = mark[:, 1:].numpy()
        for row in range(len(ids)):
            t = 0
            while t < mark.shape[1]:
                if mark[row, t] != 1:
                    t += 1
                    continue
                end = t
                while end < mark.shape[1] and mark[row, end] == 1:
                    end += 1
                ok = bool(hit[row, t:end].all())
                turn = ids[row, t + 1 : end + 1].tolist()
                turns, right = turns + 1, right + ok
                if 3 in turn:
                    calls, calls_right = calls + 1, calls_right + ok
                t = end
        if turns > limit * 2.5:
            break
    return right / turns, calls_right / max(1, calls)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--name", default="desk")
    ap.add_argument("--dim", type=int, default=256)
    ap.add_argument("--layers", type=int, default=6)
    ap.add_argument("--heads", type=int, default=4)
    ap.add_argument("--hidden", type=int, default=512)
    ap.add_argument("--batch", type=int, default=2560, help="padded tokens a step")
    ap.add_argument("--lr", type=float, default=0.0015, help="of Muon")
    ap.add_argument("--adam-lr", type=float, default=0.0007)
    ap.add_argument("--prompt-weight", type=float, default=0.15)
    ap.add_argument("--minutes", type=float, default=60, help="length of the schedule")
    ap.add_argument("--stop", type=float, default=0, help="stop after so many minutes (0: at the end)")
    ap.add_argument("--first", type=int, default=0)
    ap.add_argument("--resume", action="store_true")
    args = ap.parse_args()
    torch.manual_seed(1)
    torch.set_num_threads(1)
    dtype = torch.bfloat16
    cfg = Config(dim=args.dim, layers=args.layers, heads=args.heads, hidden=args.hidden)
    model = Model(cfg)
    structured_init.apply(model)
    matrices = [p for b in model.blocks for p in (b.qkv, b.out, b.gate_up, b.down)]
    others = [p for p in model.parameters() if p.ndim == 1] + [model.embed]
    muon = Muon(matrices, [3, 1, 2, 1] * cfg.layers)
    adam = torch.optim.AdamW(others, lr=args.adam_lr, betas=(0.9, 0.95), weight_decay=0.0)
    save = HERE / "data" / f"{args.name}.pt"
    step = seen = shard0 = 0
    spent = 0.0
    if args.resume:
        z = torch.load(save)
        model.load_state_dict(z["model"])
        adam.load_state_dict(z["adam"])
        muon.state = z["muon"]
        step, seen, spent, shard0 = z["step"], z["seen"], z["spent"], z["shard"] + 1
    began = time.time() - spent
    mean, last_check = None, time.time()

    def store(shard):
        torch.save(dict(config=cfg.to_json(), model=model.state_dict(), adam=adam.state_dict(), muon=muon.state,
                        step=step, seen=seen, spent=time.time() - began, shard=shard), str(save) + ".new")
        Path(str(save) + ".new").rename(save)

    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)
    shard = max(args.first, shard0)
    done = False
    while not done:
        path = HERE / "data" / f"train-{shard:03d}.npz"
        while not path.exists():
            time.sleep(2)
        for ids, mark in batches(path, args.batch, shard):
            t = (time.time() - began) / 60 / args.minutes
            if t >= 1 or (args.stop and time.time() - began > args.stop * 60):
                done = True
                break
            rate = min(1, (step + 1) / 30) * (1.0 if t < 0.3 else 0.02 + 0.98 * (1 - t) / 0.7)
            for g in adam.param_groups:
                g["lr"] = args.adam_lr * rate
            target, m = ids[:, 1:].reshape(-1), mark[:, 1:].reshape(-1)
            said = m == 1
            weight = torch.where(said, 1.0, args.prompt_weight) * (m != 255)
            loss, ce = fast.loss(model, ids[:, :-1], target, weight)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(others, 1.0)
            muon.step(args.lr * rate)
            adam.step()
            model.zero_grad(set_to_none=True)
            step, seen = step + 1, seen + int((m != 255).sum())
            with torch.no_grad():
                now = float(ce[said].mean())
                other = float(ce[m == 0].mean())
            mean = now if mean is None else 0.95 * mean + 0.05 * now
            if step % 20 == 0:
                print(f"{step} shard {shard} seen {seen/1e6:.2f}M {seen/(time.time()-began):.0f}/s lr {rate:.2f} answer {mean:.4f} prompt {other:.3f} {(time.time()-began)/60:.1f} min", flush=True)
            if time.time() - last_check > 240:
                both = check(model, HERE / "data" / "held.npz", dtype)
                print(f"  held-out: turns {both[0]:.3f}, calls {both[1]:.3f}", flush=True)
                store(shard - 1)
                last_check = time.time()
        shard += 1
    both = check(model, HERE / "data" / "held.npz", dtype, 1000)
    print(f"end: held-out turns {both[0]:.4f}, calls {both[1]:.4f}", flush=True)
    store(shard - 1)


if __name__ == "__main__":
    main()
