"""Five questions about the gradients of a convolution, answered with the askers' own shapes.

    python -m demos.questions                       all five, pages in runs/questions
    python -m demos.questions.q1_kernel_gradient    one of them, printed

Each question has a script with its formula and proof, and its drawing in `pictures/`. `loops.py` computes
the sums without the library, `proof.py` compares; `planes.py` makes pictures, `answer.py` pages.
"""
