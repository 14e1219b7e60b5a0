"""What both training programs share: the schedule, averaging, checkpoints, the file."""
import ctypes
import math
import os
import time

import torch

import model as models


def keep_memory():
    """Tells glibc to keep freed memory. PyTorch allocates every activation anew, and giving the
    pages back to the system after each step costs as much time as the arithmetic."""
    libc = ctypes.CDLL(None)
    trim_threshold, mmap_threshold = -1, -3
    libc.mallopt(trim_threshold, 2 ** 31 - 1)
    libc.mallopt(mmap_threshold, 2 ** 31 - 1)


def add_arguments(parser):
    """The options of every training program."""
    parser.add_argument("--data", required=True, help="folder with the data set")
    parser.add_argument("--out", required=True, help="model file to write (.gguf)")
    parser.add_argument("--checkpoint", required=True, help="state to go on from, and to keep")
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--minutes", type=float, help="training time; the learning rate reaches "
                        "zero at its end, whatever the machine's speed")
    length.add_argument("--epochs", type=int, help="passes over the data, however long they take")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--decay", type=float, default=0.05, help="weight decay")


def learning_rate(progress, highest, warm_up=0.1):
    """Linear warm-up, then half a cosine down to zero; progress is 0..1."""
    if progress < warm_up:
        return highest * (0.02 + 0.98 * progress / warm_up)
    return highest * 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warm_up) / (1 - warm_up))))


class Trainer:
    """A model, its optimizer, a running average of its weights, and the time they have had.

    The average is what is measured and written: its weight for the past grows from 0 to `average`
    with the number of steps, so that short runs work too.
    """

    def __init__(self, model, arguments, epoch_steps, average=0.998):
        torch.manual_seed(arguments.seed)
        torch.set_num_threads(arguments.threads)
        keep_memory()
        self.model, self.arguments, self.average = model, arguments, average
        self.epoch_steps = epoch_steps
        matrices = [p for p in model.parameters() if p.dim() > 1]
        vectors = [p for p in model.parameters() if p.dim() <= 1]
        groups = [{"params": matrices, "weight_decay": arguments.decay},
                  {"params": vectors, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=arguments.rate, betas=(0.9, 0.99))
        self.averaged = {k: v.clone() for k, v in model.state_dict().items()}
        self.epoch, self.steps, self.seconds = 0, 0, 0.0
        if os.path.exists(arguments.checkpoint):
            self._restore()

    def _restore(self):
        state = torch.load(self.arguments.checkpoint)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.averaged = state["averaged"]
        self.epoch, self.steps, self.seconds = state["epoch"], state["steps"], state["seconds"]
        torch.manual_seed(self.arguments.seed + self.epoch)
        print(f"goes on at epoch {self.epoch}, {self.seconds / 60:.1f} min", flush=True)

    def save(self):
        """Keeps the state, by rename, so that a stop at any moment leaves a whole file."""
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
                 "averaged": self.averaged, "epoch": self.epoch, "steps": self.steps,
                 "seconds": self.seconds}
        beside = self.arguments.checkpoint + ".new"
        torch.save(state, beside)
        os.replace(beside, self.arguments.checkpoint)

    @property
    def progress(self):
        """How much of the training is done, 0..1."""
        if self.arguments.epochs:
            return self.steps / (self.arguments.epochs * self.epoch_steps)
        return self.seconds / (60 * self.arguments.minutes)

    def step(self, loss_of_batch):
        """One update; loss_of_batch() gives the loss. Returns it as a number."""
        start = time.monotonic()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.progress, self.arguments.rate)
        loss = loss_of_batch()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.steps += 1
        self._follow(min(self.average, (self.steps + 1) / (self.steps + 10)))
        self.seconds += time.monotonic() - start
        return loss.item()

    def _follow(self, weight):
        """Moves the averaged weights towards those of now."""
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                if value.is_floating_point():
                    self.averaged[name].lerp_(value, 1 - weight)
                else:
                    self.averaged[name].copy_(value)

    def with_average(self, work):
        """Runs work(model) in evaluation mode on the averaged weights."""
        own = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self.averaged)
        self.model.eval()
        result = work(self.model)
        self.model.load_state_dict(own)
        self.model.train()
        return result

    def write(self):
        """Writes the model file with F16 matrices, by rename."""
        beside = self.arguments.out + ".new"
        self.with_average(lambda model: models.save(model, beside, "F16"))
        os.replace(beside, self.arguments.out)
