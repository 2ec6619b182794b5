"""What names of torch.nn, torch.optim and Keras are called here: advice for the error of a missing name."""
import tinygrad_conv as tg

NAMES = {  # what is missing in nn
    **dict.fromkeys(("draw_graph", "visualize", "make_dot", "plot_model"), "nn.draw(model, x)"),
    "functional": "import tinygrad_conv as tg: tg.relu(x), tg.cross_entropy(y, labels)",
    "Tensor": "tg.Tensor", "Buffer": "self.register_buffer(name, t)",
    "ParameterList": "self.register_parameter(name, p)",
    "utils": "nn.clip_grad_norm_; tg.checkpoint",
    **{name: f"tg.{name}" for name in ("checkpoint", "grad", "vjp", "jvp", "hvp", "hessian", "jacobian")},
 "lr_scheduler": "nn.StepLR, nn.CosineAnnealingLR and the like",
    "Softmax2d": "nn.Softmax(1)", "Unflatten": "x.reshape(...) in forward", "Dropout1d": "nn.Dropout",
    "Embedding": "a Parameter of shape (words, features), and weight[indices] in forward",
    "RNN": "a loop over nn.Linear", "LSTM": "a loop over nn.Linear", "GRU": "a loop over nn.Linear",
    "DataParallel": "tg.set_num_threads",
}
DATA = {  # what is missing in nn.data
    "TensorDataset": "nn.data.Dataset(x, y)", "default_collate": "nn.data.collate",
    "RandomSampler": "nn.data.DataLoader(data, 64, shuffle=True, rng=rng)",
}
INIT = {  # what is missing in nn.init
    "dirac_": "nn.init.zeros_(w), then w.mutate()[...]", "eye_": "w.mutate()[...] = np.eye(*w.shape)",
    "sparse_": "nn.init.normal_(w, rng=rng), then w.mutate()[...]",
}
WIDE = "dtype= of each layer, as in nn.Linear(3, 2, dtype=np.float64); x has the dtype it is made with"
DEVICE = tg.advice.DEVICE
METHODS = {  # what is missing in a Module
    "to": f"{DEVICE}; for another dtype, {WIDE}", "cpu": DEVICE, "cuda": DEVICE,
    "double": WIDE, "float": WIDE, "half": WIDE, "type": WIDE,
    "register_backward_hook": "register_full_backward_hook(hook)",
    "register_full_backward_pre_hook": "y.register_hook(hook), of the result y",
    "register_module": "add_module(name, module)",
    "get_submodule": "dict(model.named_modules())[name]",
    "get_parameter": "dict(model.named_parameters())[name]",
}
KERAS = {  # what is missing in a Module for who comes from elsewhere
    "summary": "nn.summary(model, (1, 1, 28, 28)), of the shape of its input", "draw": "nn.draw(model, x)",
    "fit": "nn.fit(model, loader, epochs=10, optimizer=nn.Adam(model.parameters()))",
    "compile": "nothing is compiled; loss and optimiser are given to nn.fit",
    "predict": "nn.predict(model, x)", "evaluate": "nn.evaluate(model, loader)",
    "save": "nn.save(model, path)",
    "load": "model.load_state_dict(nn.load(path))", "backward": "loss.backward(), of loss = f(model(x), y)",
    "step": "optimizer.step()",
}
HIDDEN = {  # what is assigned to a Module where a method is meant, also one that no class has
    "train": "net.train() begins training mode, net.eval() ends it",
    "eval": "net.eval() ends training mode, net.train() begins it",
    "requires_grad": "net.requires_grad_(False) freezes all parameters, True trains them",
}
