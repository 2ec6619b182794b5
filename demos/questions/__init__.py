"""Five questions about the gradients of a convolution, answered with the askers' own shapes.

    python -m demos.questions                       all five, pages in runs/questions
    python -m demos.questions.q1_kernel_gradient    one of them, printed

A script a question holds its formula and its proof; `pictures/` its drawing; `loops.py` the sums
without the library; `proof.py` the comparing; `planes.py` and `answer.py` picture and page.
"""
