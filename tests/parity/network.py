"""UNET and CD-UNET in PyTorch, with the names of our parameters: for the parity test and for the bench's peers."""
import torch, torch.nn as nn, torch.nn.functional as F

corners = None  # a list while values before ReLUs and max pools are collected


class Stage(nn.Module):
    def __init__(self, c_in, c_out, kernel, relu_first, in_place):
        super().__init__()
        self.add_module("0", nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2))
        self.add_module("1", nn.BatchNorm2d(c_out))
        self.relu_first, self.in_place = relu_first, in_place

    def forward(self, x):
        conv, norm = self._modules["0"], self._modules["1"]
        if self.relu_first:
            return norm(self.corner(conv(x)))
        return self.corner(norm(conv(x)))

    def corner(self, x):
        if corners is not None:
            corners.append(("relu", x.detach().double()))
        return F.relu(x, inplace=self.in_place)


class Network(nn.Module):
    """c: kind, width, depth, order, cd_order, as the study file calls them. in_place: ReLUs write over their input, which costs less memory."""
    def __init__(self, c, in_place=False):
        super().__init__()
        w = [c["width"] << i for i in range(c["depth"])]
        first, order, cd_order = 3, c["order"] == "relu-bn", c["cd_order"] == "relu-bn"
        self.cd = None
        if c["kind"] == "cdunet":
            self.cd = nn.Sequential(Stage(3, 6, 1, cd_order, in_place), Stage(6, 3, 1, cd_order, in_place))
        pair = lambda a, b: nn.Sequential(Stage(a, b, 3, order, in_place), Stage(b, b, 3, order, in_place))
        self.down = nn.ModuleList(pair(a, b) for a, b in zip([first] + w[:-1], w))
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in reversed(list(zip(w[:-1], w[1:]))))
        self.join = nn.ModuleList(pair(2 * a, a) for a in reversed(w[:-1]))
        self.out = nn.Conv2d(w[0], 4, 1)

    def forward(self, x):
        skips = []
        x = self.cd(x) if self.cd is not None else x
        for i, stage in enumerate(self.down):
            if i and corners is not None:
                corners.append(("pool", x.detach().double()))
            x = stage(F.max_pool2d(x, 2) if i else x)
            skips.append(x)
        for up, join, skip in zip(self.up, self.join, reversed(skips[:-1])):
            x = join(torch.cat([skip, up(x)], 1))
        return self.out(x)
